"""The composition root of camera agents."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from framemesh.bus import connect
from framemesh.service import running
from framemesh.telemetry.page import new_registry, serving_page
from ingest.capturing import Camera
from ingest.metrics import IngestMetrics
from ingest.publishing import Publisher
from ingest.settings import IngestSettings
from ingest.sources import open_sources

log = structlog.get_logger()


@asynccontextmanager
async def ingest(settings: IngestSettings) -> AsyncIterator[int]:
    """Every camera around the block, which gets the port of `/metrics` and `/healthz`.

    Raises:
        ConfigurationError: No NATS there, or the page's address is taken.
        ExceptionGroup: Of a `ConfigurationError` for each source that can't be opened.
    """
    registry = new_registry()
    metrics = IngestMetrics(registry)
    sources = await asyncio.to_thread(open_sources, settings.cameras)
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect(settings.nats_url.get_secret_value(), name="ingest"))
        port = await stack.enter_async_context(
            serving_page(settings.http_address, registry, checks={"nats": bus.problem})
        )
        cameras = [
            Camera(
                camera.name,
                source,
                Publisher(bus, metrics, camera=camera.name, max_in_flight=settings.max_in_flight),
                metrics,
                fps=camera.fps,
            )
            for camera, source in zip(settings.cameras, sources, strict=True)
        ]
        await stack.enter_async_context(running(bus, *cameras, drain_seconds=settings.drain_seconds))
        log.info("ingest.capturing", cameras=[camera.name for camera in settings.cameras], http_port=port)
        yield port
