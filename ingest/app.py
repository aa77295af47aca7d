"""The composition root of camera agents."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from framemesh.service import running
from framemesh.telemetry.page import new_registry, serving_page
from ingest.capturing import Camera
from ingest.delivery import delivering
from ingest.metrics import IngestMetrics
from ingest.settings import IngestSettings

log = structlog.get_logger()


@asynccontextmanager
async def ingest(settings: IngestSettings) -> AsyncIterator[int]:
    """Every camera around the block, which gets the port of `/metrics` and `/healthz`.

    Raises:
        ConfigurationError: The page's address is taken.
    """
    registry = new_registry()
    metrics = IngestMetrics(registry)
    async with AsyncExitStack() as stack:
        delivery = await stack.enter_async_context(delivering(settings, metrics))
        port = await stack.enter_async_context(
            serving_page(settings.http_address, registry, checks={"nats": delivery.line.problem})
        )
        cameras = [Camera(camera, delivery.publisher(camera), metrics) for camera in settings.cameras]
        await stack.enter_async_context(running(*cameras, drain_seconds=settings.drain_seconds))
        log.info("ingest.capturing", cameras=[camera.name for camera in settings.cameras], http_port=port)
        yield port
