"""A camera: takes shots from its source, has them shaped and hands the pictures to its publisher."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from framemesh.errors import ConfigurationError, FramemeshError, ImageTooLargeError, InvalidImageError
from framemesh.frames import FrameId
from framemesh.waiting import Backoff, happens
from ingest.clocks import CaptureClock
from ingest.metrics import IngestMetrics
from ingest.pictures import Picture
from ingest.publishing import Publisher
from ingest.reading import Reading
from ingest.settings import CameraSettings
from ingest.shaping import Shaper
from ingest.shots import Shot, Source, Stalled
from ingest.sources import open_source
from ingest.spells import Spell

_FIRST_RETRY_SECONDS = 0.5
_LAST_RETRY_SECONDS = 30.0
_MOST_LEFT_BEHIND = 3
"""Threads of one camera that hang in a call which never returns, before it is opened no more until one is back."""


class Camera:
    """One camera. Whatever goes wrong with its source is told and never stops it, nor another camera.

    Args:
        settings: What is asked for.
        publisher: Takes its pictures; its health is told how the source is.
        metrics: Told of what can't be used.
        open_source: Opens it.
    """

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
        self._publisher = publisher
        self._metrics = metrics
        self._health = publisher.health
        self._open = open_source
        self._shaper = Shaper(settings)
        self._clock = CaptureClock(by_camera=settings.clock == "camera")
        self._stopping = asyncio.Event()
        self._reading: Reading | None = None
        self._left: list[Reading] = []
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS)
        self._lost = False
        self._sees_since: float | None = None
        self._sequence = 0
        self._log = structlog.get_logger().bind(camera=settings.name)
        self._dark = Spell(self._log, began="camera.dark", over="camera.sees_again")
        self._misfit = Spell(self._log, began="camera.picture_unfit", over="camera.pictures_fit")
        metrics.start_camera(settings.name)

    @property
    def has_looked(self) -> bool:
        """Whether its source has given something, or can't be used for now."""
        return self._lost or self._sees_since is not None

    async def run(self) -> None:
        """Capture until stopped, or until the end of what is shown once; then wait for the publisher."""
        shaping = ThreadPoolExecutor(1, thread_name_prefix=f"shape {self._camera}")
        try:
            async with self._publisher:
                wait_seconds = 0.0
                while not self._stopping.is_set():
                    if await self._capture(shaping):
                        self._log.info("camera.ended")
                        break
                    if self._sees_since is not None and time.monotonic() - self._sees_since > wait_seconds:
                        self._backoff.reset()  # else one that is lost again and again would be tried ever so often
                    wait_seconds = self._backoff.next_seconds()
                    await happens(self._stopping, within=wait_seconds)
                    await self._until_one_is_back()
        finally:
            shaping.shutdown(wait=False)  # where we are cut, a picture may be in work

    def stop(self) -> None:
        """Capture nothing more."""
        self._stopping.set()
        if self._reading is not None:
            self._reading.close()

    async def _capture(self, shaping: ThreadPoolExecutor) -> bool:
        """Open the source and take what it gives; whether that was all."""
        self._reading = reading = Reading(self._settings, self._open, self._metrics)
        self._sees_since = None
        try:
            while (taken := await reading.next()) is not None:
                shot, arrived_ns = taken
                captured_ns = self._clock.capture_ns(
                    shot.captured_ns, arrived_ns=arrived_ns, tells_later=reading.is_live
                )
                if captured_ns is None:
                    self._metrics.frames.labels(self._camera, "untimed").inc()
                else:
                    await self._take(shot, captured_ns, shaping)
        except Stalled as stall:
            self._lost = True
            self._health.stalled(stall.silent_seconds)
            self._dark.hit(error=str(stall))
        except FramemeshError as error:
            self._lost = True
            self._health.failed(str(error))
            self._dark.hit(error=str(error), mend=isinstance(error, ConfigurationError))
        else:
            return not self._stopping.is_set()
        finally:
            reading.close()
            self._left.append(reading)
        return False

    async def _take(self, shot: Shot, captured_ns: int, shaping: ThreadPoolExecutor) -> None:
        if self._sees_since is None:
            self._sees_since = time.monotonic()
        if self._lost:
            self._lost = False
            self._health.reconnected()
            self._dark.end()
        self._health.captured(captured_ns)
        picture = await self._shaped(shot, shaping)
        if picture is not None:
            self._sequence += 1
            self._publisher.offer(FrameId(self._camera, captured_ns), picture, sequence=self._sequence)

    async def _shaped(self, shot: Shot, shaping: ThreadPoolExecutor) -> Picture | None:
        try:
            picture = await asyncio.get_running_loop().run_in_executor(shaping, self._shaper.shape, shot)
        except ImageTooLargeError as error:
            self._metrics.frames.labels(self._camera, "too_large").inc()
            self._misfit.hit(error=str(error))
        except (InvalidImageError, ConfigurationError) as error:
            self._metrics.frames.labels(self._camera, "unreadable").inc()
            self._misfit.hit(error=str(error))
        else:
            self._misfit.end()
            if picture is None:
                self._metrics.frames.labels(self._camera, "unchanged").inc()
            return picture
        return None

    async def _until_one_is_back(self) -> None:
        """Wait while too many threads hang in calls that don't return: each holds memory, and none can be ended."""
        self._left = [reading for reading in self._left if not reading.is_over]
        hanging = Spell(self._log, began="camera.hanging", over="camera.freed")
        while len(self._left) >= _MOST_LEFT_BEHIND and not self._stopping.is_set():
            hanging.hit(threads=len(self._left))
            self._health.failed(
                f"source {self._settings.place}: {len(self._left)} tries to read it hang: reset the device, or restart "
                "the agent"
            )
            await happens(self._stopping, within=_LAST_RETRY_SECONDS)
            self._left = [reading for reading in self._left if not reading.is_over]
        hanging.end()
