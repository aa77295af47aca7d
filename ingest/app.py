"""The composition root of camera agents."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import structlog

from framemesh.rpc.reloading import file_state
from framemesh.service import Component, running
from framemesh.telemetry.disk import DiskMetrics
from framemesh.telemetry.page import new_registry, serving_page
from ingest.camera_file import read_cameras
from ingest.capturing import Camera
from ingest.delivery import delivering
from ingest.fleet import Fleet
from ingest.following import Follower
from ingest.metrics import IngestMetrics
from ingest.settings import CameraSettings, IngestSettings

log = structlog.get_logger()


@asynccontextmanager
async def ingest(settings: IngestSettings) -> AsyncIterator[int]:
    """Every camera around the block, which gets the port of `/metrics` and `/healthz`.

    Raises:
        ConfigurationError: The file of cameras can't be used, or the page's address is taken.
    """
    file = settings.cameras_file
    state = None if file is None else file_state(file)
    cameras = settings.cameras if file is None else read_cameras(file)
    registry = new_registry()
    metrics = IngestMetrics(registry)
    disks = DiskMetrics(registry)
    if settings.spill_folder is not None:
        disks.show("spill", settings.spill_folder)
    async with AsyncExitStack() as stack:
        delivery = await stack.enter_async_context(delivering(settings, metrics))

        def camera(own: CameraSettings) -> Camera:
            return Camera(own, delivery.publisher(own), metrics)

        def forget(name: str) -> None:
            delivery.forget(name)
            metrics.forget_camera(name)

        fleet = Fleet(camera, forget=forget, drain_seconds=settings.drain_seconds)
        fleet.want(cameras)
        components: list[Component] = [fleet]
        warnings = {}
        if file is not None:
            follower = Follower(file, state, fleet.want, metrics)
            stack.enter_context(_on_hangup(follower.reload))
            components.append(follower)
            warnings["cameras_file"] = follower.problem
        checks = {"nats": delivery.line.problem, "cameras": fleet.problem}
        port = await stack.enter_async_context(serving_page(settings.http_address, registry, checks, warnings))
        await stack.enter_async_context(running(*components, drain_seconds=settings.drain_seconds))
        log.info("ingest.capturing", http_port=port)
        yield port


@contextmanager
def _on_hangup(reload: Callable[[], None]) -> Iterator[None]:
    """Around the block, SIGHUP reloads, as it does with other daemons."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
