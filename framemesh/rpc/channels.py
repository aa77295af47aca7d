"""Channels as our clients open them."""

from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import grpc

from framemesh.errors import ConfigurationError
from framemesh.rpc.tokens import is_token

# A dead peer is noticed within seconds rather than when TCP gives up; reconnecting starts quickly on one machine.
OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # one minute unless told, whatever the line above says
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
)

Tls = bool | Path | None
"""Whether a client speaks TLS. `True`: yes, with a server whose authority is on gRPC's own list. A path: yes, and the
PEM file has the authorities to trust. `None`: no. `False`: no, even if a token goes to another machine so."""


def open_channel(address: str, *, tls: Tls = None, token: str | None = None) -> grpc.aio.Channel:
    """A channel for asyncio to `host:port`; it connects by itself, again and again.

    Raises:
        ConfigurationError: The CA file can't be read, or the token would go to another machine in plain text.
    """
    credentials = _credentials(address, tls, token)
    if credentials is None:
        channel = grpc.aio.insecure_channel(address, options=OPTIONS)
    else:
        channel = grpc.aio.secure_channel(address, credentials, options=OPTIONS)
    return channel if token is None else cast("grpc.aio.Channel", _WithToken(channel, token))


def open_sync_channel(address: str, *, tls: Tls = None, token: str | None = None) -> grpc.Channel:
    """The same for threads."""
    credentials = _credentials(address, tls, token)
    if credentials is None:
        channel = grpc.insecure_channel(address, options=OPTIONS)
    else:
        channel = grpc.secure_channel(address, credentials, options=OPTIONS)
    return channel if token is None else cast("grpc.Channel", _WithToken(channel, token))


def is_loopback(address: str) -> bool:
    """Whether a gRPC address, as `host:port`, is reached from this machine alone."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost" or address.startswith("unix:"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name: it may be anybody's
        return False


class _WithToken:
    """A channel whose every call carries a token.

    gRPC's own call credentials want TLS even on this machine, and interceptors are a class for each kind of call.
    """

    def __init__(self, channel: grpc.Channel | grpc.aio.Channel, token: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {token}"),)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._channel, name)
        return partial(self._multicallable, method) if name in _KINDS else method

    def _multicallable(self, make: Any, *args: Any, **kwargs: Any) -> Any:
        return partial(make(*args, **kwargs), metadata=self._metadata)


_KINDS = frozenset({"unary_unary", "unary_stream", "stream_unary", "stream_stream"})


def _credentials(address: str, tls: Tls, token: str | None) -> grpc.ChannelCredentials | None:
    if token is not None and not is_token(token):
        raise ConfigurationError("the token is none: it has letters, digits or any of -._~+/=, and no spaces or quotes")
    if not tls:
        if token is not None and tls is None and not is_loopback(address):
            raise ConfigurationError(
                f"the token would go to {address} in plain text: call https://{address} (in Python tls=True, or the "
                "path of the CA's file), or, where a proxy here encrypts what leaves, http://... (tls=False)",
                address=address,
            )
        return None
    if tls is True:
        return grpc.ssl_channel_credentials()
    try:
        return grpc.ssl_channel_credentials(tls.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"can't read the CA's file {tls}: {error.strerror}") from error
