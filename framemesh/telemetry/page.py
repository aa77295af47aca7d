"""`/metrics` and `/healthz`, served on the service's own event loop: a blocked loop shows."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from framemesh.errors import ConfigurationError

Check = Callable[[], str | None]
"""Says what is wrong, or nothing."""


def new_registry() -> CollectorRegistry:
    """A registry of the service's own, with the process's CPU, memory and file descriptors."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


@asynccontextmanager
async def serving_page(address: str, registry: CollectorRegistry, checks: dict[str, Check]) -> AsyncIterator[int]:
    """Serve both pages around the block, which gets the port.

    `/healthz` answers 200 where every check passes, else 503, with a line for each that fails.

    Raises:
        ConfigurationError: The address can't be listened on.
    """

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        wrong = [f"{name}: {problem}\n" for name, check in checks.items() if (problem := check())]
        return web.Response(text="".join(wrong) or "ok\n", status=503 if wrong else 200)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        host, _, port = address.rpartition(":")
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port), reuse_port=False).start()
        except (OSError, ValueError, OverflowError) as error:
            raise ConfigurationError(
                f"can't serve metrics on {address!r}: {error}; set FRAMEMESH_HTTP_ADDRESS to a free host:port",
                address=address,
            ) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
