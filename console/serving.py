"""The web server, on the service's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog
import uvicorn
from fastapi import FastAPI

from framemesh.errors import ConfigurationError

log = structlog.get_logger()

_END_SECONDS = 2
_MAX_MESSAGE_BYTES = 1024 * 1024
_POLL_SECONDS = 0.02


class _Server(uvicorn.Server):
    """Uvicorn, but signals are the service's own."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def serving_pages(
    app: FastAPI, address: str, *, cert_file: Path | None, key_file: Path | None
) -> AsyncIterator[int]:
    """Serve an app around the block, which gets the port.

    Raises:
        ConfigurationError: The address can't be listened on, or the certificate can't be used.
    """
    listener = _listen(address)
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        ssl_certfile=cert_file,
        ssl_keyfile=str(key_file) if key_file else None,
        timeout_graceful_shutdown=_END_SECONDS,
        ws_max_size=_MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # pictures don't shrink
    )
    try:
        config.load()
    except OSError as error:
        raise ConfigurationError(
            f"can't serve TLS with the certificate {cert_file} and the key {key_file}: {error}; both must be PEM, "
            "belong together, and need no password"
        ) from error
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="pages")
    try:
        while not server.started:
            if task.done():
                await task
                raise ConfigurationError(f"can't serve the console on {address!r}")
            await asyncio.sleep(_POLL_SECONDS)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server((host.strip("[]"), int(port)), family=_family(host), backlog=128)
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"can't serve the console on {address!r}: {error}; set FRAMEMESH_CONSOLE_ADDRESS to a free host:port",
            address=address,
        ) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
