"""A camera: takes shots from its source, has them shaped and hands the pictures to its publisher."""

import asyncio
import time
from collections.abc import Callable

import structlog

from framemesh.errors import ConfigurationError, ImageTooLargeError, InvalidImageError
from framemesh.frames import NANOSECONDS, FrameId
from framemesh.waiting import happens
from ingest.metrics import IngestMetrics
from ingest.pacing import Pace
from ingest.pictures import Picture
from ingest.publishing import Publisher
from ingest.settings import DEFAULT_FPS, CameraSettings
from ingest.shaping import Shaper
from ingest.sources import Source, open_source
from ingest.spells import Spell


class Camera:
    """One camera. Whatever goes wrong with its source is counted and never stops it, nor another camera."""

    def __init__(
        self,
        settings: CameraSettings,
        publisher: Publisher,
        metrics: IngestMetrics,
        *,
        open_source: Callable[[CameraSettings], Source] = open_source,
    ) -> None:
        self.name = f"camera {settings.name}"
        self._settings = settings
        self._camera = settings.name
        self._open = open_source
        self._source: Source | None = None
        self._shaper = Shaper(settings)
        self._publisher = publisher
        self._metrics = metrics
        self._fps = settings.fps or DEFAULT_FPS
        self._stopping = asyncio.Event()
        self._captured_ns = 0
        self._sequence = 0
        self._problem: str | None = None
        self._log = structlog.get_logger().bind(camera=settings.name)
        self._dark = Spell(self._log, began="camera.dark", over="camera.sees_again")
        metrics.start_camera(settings.name)

    async def run(self) -> None:
        """Capture until stopped, then wait for the acknowledgements under way."""
        async with self._publisher:
            picture = await self._read()
            pace = Pace.of(self._fps, start_ns=time.monotonic_ns())
            slot = 0
            while await self._reached(pace.due_ns(slot)):
                if picture is not None:
                    self._capture(picture)
                picture = await self._read()  # ahead of its slot, so that decoding doesn't delay it
                following = pace.next_slot(slot, time.monotonic_ns())
                self._metrics.frames.labels(self._camera, "late").inc(following - slot - 1)
                slot = following

    def stop(self) -> None:
        """Capture nothing more."""
        self._stopping.set()

    def problem(self) -> str | None:
        """Why the camera has no pictures at present, with what to do about it; none where it has."""
        return self._problem

    def _capture(self, picture: Picture) -> None:
        self._captured_ns = max(time.time_ns(), self._captured_ns + 1)  # the wall clock may be set back
        self._sequence += 1
        self._publisher.offer(FrameId(self._camera, self._captured_ns), picture, sequence=self._sequence)

    async def _read(self) -> Picture | None:
        """The source's next picture; none where it has none for this slot."""
        try:
            picture = await asyncio.to_thread(self._next)
        except ImageTooLargeError as error:
            self._metrics.frames.labels(self._camera, "too_large").inc()
            self._log.warning("camera.picture_too_large", error=str(error))
        except InvalidImageError as error:
            self._metrics.frames.labels(self._camera, "unreadable").inc()
            self._log.warning("camera.picture_unreadable", error=str(error))
        except ConfigurationError as error:
            self._metrics.frames.labels(self._camera, "unreadable").inc()
            self._problem = str(error)
            self._dark.hit(error=str(error))
        else:
            self._problem = None
            self._dark.end()
            return picture
        return None

    def _next(self) -> Picture | None:
        if self._source is None:
            self._source = self._open(self._settings)
        try:
            shot = self._source.read()
        except ConfigurationError:
            self._source.close()
            self._source = None
            raise
        return None if shot is None else self._shaper.shape(shot)

    async def _reached(self, due_ns: int) -> bool:
        """Wait for the time; false as soon as capturing is to stop."""
        return not await happens(self._stopping, within=(due_ns - time.monotonic_ns()) / NANOSECONDS)
