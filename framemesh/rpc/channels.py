"""Channels as our clients open them."""

import grpc

# A dead peer is noticed within seconds rather than when TCP gives up; reconnecting starts quickly on one machine.
OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
)


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel for asyncio to `host:port`; it connects by itself, again and again."""
    return grpc.aio.insecure_channel(address, options=OPTIONS)


def open_sync_channel(address: str) -> grpc.Channel:
    """The same for threads."""
    return grpc.insecure_channel(address, options=OPTIONS)
