"""The composition root: opens what the console owns, in order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from fastapi import FastAPI
from nicegui import Client, core, ui
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from console import layout, theme
from console.access import Access
from console.entrance import add_entrance
from console.guard import CALLER, Guard
from console.live.hub import Hub
from console.live.stream import add_stream
from console.mesh import Mesh, mesh
from console.metrics import ConsoleMetrics
from console.page import Page
from console.pages import PAGES, not_found
from console.serving import opened_certificate, serving_pages
from console.settings import ConsoleSettings
from console.visit import Visit
from framemesh.rpc.channels import is_loopback
from framemesh.rpc.exposure import check_exposure
from framemesh.service import running
from framemesh.telemetry.page import new_registry, serving_page

log = structlog.get_logger()

_RECONNECT_SECONDS = 20.0
"""How long a page waits for a browser that was cut off, as on the way through a tunnel, before it is built anew. As
rarely are browsers asked whether they are there: with NiceGUI's 3 s a busy machine loses them."""
_OWN_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Console:
    """A console that runs. Ports are those it got."""

    port: int
    http_port: int


@asynccontextmanager
async def console(settings: ConsoleSettings) -> AsyncIterator[Console]:
    """The whole console around the block: one in a process, as NiceGUI has one app.

    Raises:
        ConfigurationError: An address, certificate, tokens file or NATS user can't be used.
        BusUnavailableError: No NATS server answers.
    """
    check_exposure(
        "console",
        settings.console_address,
        cert_file=settings.tls_cert_file,
        key_file=settings.tls_key_file,
        tokens_file=settings.tokens_file,
        tokens_in_plain_text=settings.tokens_in_plain_text,
    )
    access = Access(settings.tokens_file, session_seconds=settings.session_seconds, on_end=_close_pages)
    async with AsyncExitStack() as stack:
        reached = await stack.enter_async_context(mesh(settings))
        registry = new_registry()
        metrics = ConsoleMetrics(registry)
        hub = Hub(reached.bus, metrics)
        components = (reached.bus, reached.hearing, hub)
        await stack.enter_async_context(running(*components, drain_seconds=settings.drain_seconds))
        http_port = await stack.enter_async_context(
            serving_page(settings.http_address, registry, {"nats": reached.bus.problem})
        )
        app = _app(settings, reached, hub, access, metrics)
        port = await stack.enter_async_context(
            serving_pages(app, settings.console_address, opened_certificate(settings, metrics))
        )
        log.info("console.serving", port=port)
        yield Console(port, http_port)


def _app(settings: ConsoleSettings, reached: Mesh, hub: Hub, access: Access, metrics: ConsoleMetrics) -> FastAPI:
    encrypted = settings.tls_cert_file is not None or settings.tokens_in_plain_text
    app = FastAPI(openapi_url=None)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    add_entrance(app, access, metrics, session_seconds=settings.session_seconds, encrypted=encrypted)
    add_stream(app, reached, hub)
    app.add_middleware(
        Guard,
        access=access,
        metrics=metrics,
        hosts=_hosts(settings),
        max_body_bytes=settings.max_upload_bytes,
        encrypted=encrypted,
    )
    theme.set_defaults()
    for page in PAGES:
        if page.serve is not None:
            page.serve(app, reached)
        _register(page, reached)
    _register_not_found(reached)
    core.app.config.socket_io_js_transports = ["websocket"]
    ui.run_with(
        app,
        title="framemesh",
        dark=None,
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=_RECONNECT_SECONDS,
    )
    return app


def _register(page: Page, reached: Mesh) -> None:
    @ui.page(page.path)
    async def show(request: Request) -> None:
        visit = await Visit.of(request, reached)
        with layout.frame(visit, page, PAGES):
            if visit.may(page.role):
                await page.build(visit)
            else:
                layout.forbidden(visit)


def _register_not_found(reached: Mesh) -> None:
    """In place of NiceGUI's own page, for browsers; anybody else gets a line of text."""

    @core.app.exception_handler(404)
    async def show(request: Request, _: Exception) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse("there is nothing at this address\n", 404)
        with Client(ui.page(""), request=request) as client:
            visit = await Visit.of(request, reached)
            with layout.frame(visit, not_found.PAGE, PAGES):
                await not_found.PAGE.build(visit)
        return client.build_response(request, 404)


def _close_pages(session: str) -> None:
    """End the pages of a session, with its rights: else whoever logs in next in that browser could take them up."""
    for client in list(Client.instances.values()):
        caller = client.request.scope.get(CALLER)
        if caller is not None and caller.session == session:
            for waiting in client._delete_tasks.values():  # noqa: SLF001 - of one just left: it can't go twice
                waiting.cancel()
            client.delete()


def _hosts(settings: ConsoleSettings) -> frozenset[str]:
    named = frozenset(name.strip().lower() for name in settings.console_hosts.split(",") if name.strip())
    return named | (_OWN_NAMES if named or is_loopback(settings.console_address) else frozenset())
