"""`/metrics` and `/healthz`, served on the service's own event loop: a blocked loop shows."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

from aiohttp import web
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, choose_encoder, generate_latest

from framemesh.errors import ConfigurationError
from framemesh.telemetry import tracing

Check = Callable[[], str | None]
"""Says what is wrong, or nothing."""
_OPEN_METRICS = "application/openmetrics-text"
NO_CHECKS: Mapping[str, Check] = MappingProxyType({})


def new_registry() -> CollectorRegistry:
    """A registry of the service's own, with the process's CPU, memory and file descriptors."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    tracing.register(registry)
    return registry


def _lines(checks: Mapping[str, Check]) -> list[str]:
    return [f"{name}: {problem}\n" for name, check in checks.items() if (problem := check())]


@asynccontextmanager
async def serving_page(
    address: str, registry: CollectorRegistry, checks: Mapping[str, Check], warnings: Mapping[str, Check] = NO_CHECKS
) -> AsyncIterator[int]:
    """Serve both pages around the block, which gets the port.

    `/healthz` answers 200 where every check passes, else 503, with a line for each that fails. What `warnings` say
    stands there too and fails nothing: a restart, by which supervisors mend a 503, would make it worse.

    Raises:
        ConfigurationError: The address can't be listened on.
    """

    async def metrics(request: web.Request) -> web.Response:
        encode: Callable[[CollectorRegistry], bytes] = generate_latest
        content_type = CONTENT_TYPE_LATEST
        if _OPEN_METRICS in (accept := request.headers.get("Accept", "")):  # the only format that has exemplars
            encode, content_type = choose_encoder(accept)
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    async def healthz(_: web.Request) -> web.Response:
        wrong, more = _lines(checks), _lines(warnings)
        return web.Response(text="".join(wrong or ["ok\n"]) + "".join(more), status=503 if wrong else 200)

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
