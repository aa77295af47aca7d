"""The web server, on the service's own event loop."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from framemesh.errors import ConfigurationError
from framemesh.rpc.reloading import Reloaded
from framemesh.waiting import cancelled

_END_SECONDS = 2
_MAX_MESSAGE_BYTES = 1024 * 1024
_POLL_SECONDS = 0.02
_LOOK_SECONDS = 10.0


class _Server(uvicorn.Server):
    """Uvicorn, but signals are the service's own."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def serving_pages(
    app: FastAPI, address: str, *, cert_file: Path | None, key_file: Path | None
) -> AsyncIterator[int]:
    """Serve an app around the block, which gets the port. A certificate that is renewed is taken up.

    Raises:
        ConfigurationError: The address can't be listened on, or the certificate can't be used.
    """
    tls = _tls(cert_file, key_file) if cert_file and key_file else None
    listener = _listen(address)
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_END_SECONDS,
        ws_max_size=_MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # pictures don't shrink
        ssl_context_factory=(lambda *_: tls[0]) if tls else None,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="pages")
    renewing = asyncio.create_task(_renew(tls[1]), name="certificate") if tls else None
    try:
        while not server.started:
            if serving.done():
                await serving
                raise ConfigurationError(f"can't serve the console on {address!r}")
            await asyncio.sleep(_POLL_SECONDS)
        yield listener.getsockname()[1]
    finally:
        if renewing:
            await cancelled(renewing)
        server.should_exit = True
        await serving


def _tls(cert_file: Path, key_file: Path) -> tuple[ssl.SSLContext, Reloaded[None]]:
    """What encrypts, and what takes up a renewed certificate when it is looked at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def load() -> None:
        try:
            context.load_cert_chain(cert_file, key_file, password="")  # else OpenSSL asks the terminal
        except (ssl.SSLError, OSError) as error:
            raise ConfigurationError(
                f"can't serve TLS with the certificate {cert_file} and the key {key_file}: {error.strerror or error}; "
                "both must be PEM, belong together, and need no password"
            ) from error

    return context, Reloaded((cert_file, key_file), load)


async def _renew(files: Reloaded[None]) -> None:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        files.now()


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=128)
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"can't serve the console on {address!r}: {error}; set FRAMEMESH_CONSOLE_ADDRESS to a free host:port",
            address=address,
        ) from error
