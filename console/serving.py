"""The web server, on the service's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from console.metrics import ConsoleMetrics
from console.settings import ConsoleSettings
from framemesh.errors import ConfigurationError
from framemesh.rpc.tls import WebCertificate
from framemesh.waiting import cancelled

_END_SECONDS = 2
_MAX_MESSAGE_BYTES = 1024 * 1024
_POLL_SECONDS = 0.02
_LOOK_SECONDS = 2.0


class _Server(uvicorn.Server):
    """Uvicorn, but signals are the service's own."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def opened_certificate(settings: ConsoleSettings, metrics: ConsoleMetrics) -> WebCertificate | None:
    """What encrypts the pages, if anything does; the metrics show when it ends.

    Raises:
        ConfigurationError: It can't be used.
    """
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return None
    certificate = WebCertificate(settings.tls_cert_file, settings.tls_key_file)
    metrics.certificate_expiry.set_function(certificate.expiry)
    return certificate


@asynccontextmanager
async def serving_pages(app: FastAPI, address: str, certificate: WebCertificate | None = None) -> AsyncIterator[int]:
    """Serve an app around the block, which gets the port. A certificate that is renewed is taken up.

    Raises:
        ConfigurationError: The address can't be listened on.
    """
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
        ssl_context_factory=(lambda *_: certificate.context) if certificate else None,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="pages")
    renewing = asyncio.create_task(_renew(certificate), name="certificate") if certificate else None
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


async def _renew(certificate: WebCertificate) -> None:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        certificate.expiry()


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
