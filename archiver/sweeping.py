"""Frames that need not be kept any longer are deleted: whole hours of a camera, the oldest first.

First the objects, then the rows of the table `frames` that name them; results stay, as they are small and evidence. It
notes nothing: whatever was cut is found by the next look. Only what is a frame's key to the letter is ever deleted.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import nats.errors
import nats.js.errors
import structlog
from google.protobuf.message import DecodeError

from archiver.metrics import ArchiverMetrics
from archiver.retention import OTHERS, Limit, hour_of
from framemesh.bus import Bus, streams
from framemesh.errors import LakeUnavailableError
from framemesh.frames import NANOSECONDS, frame_id_of
from framemesh.lake import Lake, StoredObject
from framemesh.names import is_label
from framemesh.v1.frame_pb2 import StoredFrame
from framemesh.waiting import happens

log = structlog.get_logger()

_AT_ONCE = 100
_FRAME_HOUR = "%Y/%m/%d/%H/"
_ROW_HOUR = "date=%Y-%m-%d/hour=%H/"
_ROW_FILE = ".parquet"


class Sweeper:
    """Deletes until it is stopped.

    Args:
        bus: Where models' consumers are, which may be behind.
        frames: The bucket of frames.
        rows: The bucket of the table `frames`.
        limits: What is kept, by camera.
        metrics: What is counted.
        seconds: How often to look.
        deletes_per_second: Requests to the store at most.
    """

    name = "retention"

    def __init__(
        self,
        bus: Bus,
        frames: Lake,
        rows: Lake,
        limits: Mapping[str, Limit],
        metrics: ArchiverMetrics,
        *,
        seconds: float,
        deletes_per_second: int,
    ) -> None:
        self._bus = bus
        self._frames = frames
        self._rows = rows
        self._limits = limits
        self._metrics = metrics
        self._seconds = seconds
        self._deletes_per_second = deletes_per_second
        self._past_sizes: dict[str, int] = {}  # of hours that nothing is added to any more
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Look again and again until stopped; a look that is cut goes on with the next start."""
        while self._limits and not self._stopping.is_set():
            try:
                await self._sweep(datetime.now(UTC))
            except LakeUnavailableError as error:
                log.warning("retention.put_off", error=str(error))
            await happens(self._stopping, within=self._seconds)
        await self._stopping.wait()

    def stop(self) -> None:
        """Delete no more."""
        self._stopping.set()

    async def _sweep(self, now: datetime) -> None:
        cameras = {folder.rstrip("/") for folder in await self._frames.folders()}
        cameras |= {folder.rstrip("/").removeprefix("camera=") for folder in await self._rows.folders()}
        for camera in sorted(filter(is_label, cameras)):
            limit = self._limits.get(camera, self._limits.get(OTHERS))
            if limit is not None and not self._stopping.is_set():
                await self._sweep_camera(camera, limit, now)

    async def _sweep_camera(self, camera: str, limit: Limit, now: datetime) -> None:
        hours = {hour: prefix async for hour, prefix in _hours(self._frames, f"{camera}/", _FRAME_HOUR)}
        sizes = {} if limit.span else {hour: await self._size(hours[hour], hour, now) for hour in sorted(hours)}
        first = limit.first_kept(sizes, now)
        gone = [hour for hour in sorted(hours) if hour < first]
        if gone:
            await self._warn_of_models(camera, first)
        for hour in gone:
            await self._delete_hour(camera, hours[hour])
        async for hour, prefix in _hours(self._rows, f"camera={camera}/", _ROW_HOUR):
            if hour < first and not self._stopping.is_set():
                files = [found for found in await self._rows.objects(prefix) if found.key.endswith(_ROW_FILE)]
                await self._delete(self._rows, files)
        if sizes:
            self._metrics.kept_bytes.labels(camera).set(sum(size for hour, size in sizes.items() if hour >= first))

    async def _size(self, prefix: str, hour: datetime, now: datetime) -> int:
        """What the frames of an hour take: listed once where the hour is over, give or take late ones."""
        known = self._past_sizes.get(prefix)
        if known is not None:
            return known
        size = sum(found.size_bytes for found in await self._frames.objects(prefix))
        if (hour_of(now) - hour).total_seconds() > 3600:
            self._past_sizes[prefix] = size
        return size

    async def _delete_hour(self, camera: str, prefix: str) -> None:
        found = await self._frames.objects(prefix)
        ours = [one for one in found if (frame_id := frame_id_of(one.key)) and frame_id.camera == camera]
        if len(ours) < len(found):
            log.warning("retention.foreign_objects", prefix=prefix, objects=len(found) - len(ours))
        deleted = await self._delete(self._frames, ours)
        self._past_sizes.pop(prefix, None)
        self._metrics.deleted_frames.labels(camera).inc(len(deleted))
        self._metrics.deleted_bytes.labels(camera).inc(sum(one.size_bytes for one in deleted))
        if deleted:
            log.info("retention.deleted", prefix=prefix, frames=len(deleted))

    async def _delete(self, lake: Lake, objects: Sequence[StoredObject]) -> Sequence[StoredObject]:
        """Delete objects at the pace that is set, and return those that came to it before the stop."""
        for start in range(0, len(objects), _AT_ONCE):
            if self._stopping.is_set():
                return objects[:start]
            began, some = time.monotonic(), objects[start : start + _AT_ONCE]
            await lake.delete(*(one.key for one in some))
            pace = len(some) / self._deletes_per_second
            await happens(self._stopping, within=pace - (time.monotonic() - began))
        return objects

    async def _warn_of_models(self, camera: str, first: datetime) -> None:
        """Say which models have yet to read frames that go. A model that lags must not fill the disk for ever."""
        with suppress(nats.errors.Error, TimeoutError):
            for consumer in await self._bus.js.consumers_info(streams.STORED):
                if not consumer.num_pending or consumer.ack_floor is None:
                    continue
                with suppress(nats.js.errors.NotFoundError, DecodeError):
                    message = await self._bus.js.get_msg(
                        streams.STORED, consumer.ack_floor.stream_seq + 1, subject=f"stored.{camera}", next=True
                    )
                    frame_id = frame_id_of(StoredFrame.FromString(message.data or b"").frame.object_key)
                    if frame_id is not None and frame_id.captured_ns < first.timestamp() * NANOSECONDS:
                        log.warning("retention.ahead_of_model", camera=camera, consumer=consumer.name)


async def _hours(lake: Lake, prefix: str, pattern: str) -> AsyncIterator[tuple[datetime, str]]:
    """The hours below a prefix, each with its own; folders that are named differently are passed over."""
    folders = [prefix]
    for _ in range(pattern.count("/")):
        folders = [below for folder in folders for below in await lake.folders(folder)]
    for folder in folders:
        with suppress(ValueError):
            hour = datetime.strptime(folder.removeprefix(prefix), pattern).replace(tzinfo=UTC)
            if f"{prefix}{hour:{pattern}}" == folder:
                yield hour, folder
