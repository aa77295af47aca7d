"""The composition root of the archiver."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from archiver.archiving import Archive, Feed
from archiver.metrics import ArchiverMetrics
from archiver.retention import parse
from archiver.rows import correction_row, frame_row, result_row
from archiver.settings import ArchiverSettings
from archiver.sweeping import Sweeper
from framemesh.bus import connect, streams
from framemesh.bus.loglines import LogLines
from framemesh.bus.presence import Presence
from framemesh.lake import Lake
from framemesh.service import running
from framemesh.tables import CORRECTIONS, FRAMES, RESULTS, SHADOWS
from framemesh.telemetry.page import new_registry, serving_page

_FEEDS = (
    Feed(streams.STORED, FRAMES, frame_row),
    Feed(streams.RESULTS, RESULTS, result_row),
    Feed(streams.SHADOWS, SHADOWS, result_row),
    Feed(streams.CORRECTIONS, CORRECTIONS, correction_row),
)


@asynccontextmanager
async def archiver(settings: ArchiverSettings) -> AsyncIterator[int]:
    """Every archive and the retention around the block, which gets the port of `/metrics` and `/healthz`.

    Raises:
        ConfigurationError: No NATS or S3 server takes us, or the page's address is taken.
    """
    registry = new_registry()
    metrics = ArchiverMetrics(registry)
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect(settings.nats_url.get_secret_value(), name="archiver"))
        archives = [
            Archive(
                bus,
                await Lake.from_settings(settings, bucket=feed.table.bucket).when_there(),
                feed,
                metrics,
                seconds=settings.archive_seconds,
            )
            for feed in _FEEDS
        ]
        port = await stack.enter_async_context(serving_page(settings.http_address, registry, {"nats": bus.problem}))
        sweeper = Sweeper(
            bus,
            await Lake.from_settings(settings, bucket=settings.s3_frames_bucket).when_there(),
            await Lake.from_settings(settings, bucket=FRAMES.bucket).when_there(),
            parse(settings.retention),
            metrics,
            seconds=settings.retention_seconds,
            deletes_per_second=settings.retention_deletes_per_second,
        )
        telling = (Presence(bus, "archiver"), LogLines(bus))
        await stack.enter_async_context(
            running(bus, *telling, *archives, sweeper, drain_seconds=settings.drain_seconds)
        )
        yield port
