"""One camera's frames on their way to JetStream: several at once, each until it is acknowledged."""

import asyncio
import itertools
import random
import time
from types import TracebackType
from typing import Self

import structlog

from framemesh.bus import Bus
from framemesh.bus.connection import ACK_SECONDS
from framemesh.errors import BusUnavailableError, ImageTooLargeError, StreamFullError
from framemesh.frames import NANOSECONDS, FrameId, headers, subject
from ingest.metrics import IngestMetrics
from ingest.pictures import Picture
from ingest.spells import Spell

_FIRST_RETRY_SECONDS = 0.05
_LAST_RETRY_SECONDS = 2.0


def backoff_seconds(attempt: int, chance: float) -> float:
    """How long to wait after a failed attempt: doubling up to 2 s, less up to a half so that not all come at once.

    Args:
        attempt: 0 for the first.
        chance: A random number in [0, 1).
    """
    longest = min(_FIRST_RETRY_SECONDS * 2.0 ** min(attempt, 16), _LAST_RETRY_SECONDS)
    return longest * (1 - chance / 2)


class Publisher:
    """Publishes around a block; leaving it waits until every frame that was taken is acknowledged."""

    def __init__(self, bus: Bus, metrics: IngestMetrics, *, camera: str, max_in_flight: int) -> None:
        self._bus = bus
        self._metrics = metrics
        self._camera = camera
        self._subject = subject(camera)
        self._max_in_flight = max_in_flight
        self._deliveries = asyncio.TaskGroup()
        self._in_flight = 0
        self._retrying: set[FrameId] = set()
        self._newest_ns = 0
        self._log = structlog.get_logger().bind(camera=camera)
        self._refusing = Spell(self._log, began="camera.refusing", over="camera.accepting")
        self._failing = Spell(self._log, began="publish.failing", over="publish.recovered")

    async def __aenter__(self) -> Self:
        await self._deliveries.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._deliveries.__aexit__(kind, error, trace)

    def offer(self, frame_id: FrameId, picture: Picture, *, sequence: int) -> None:
        """Take a frame, or refuse it where as many as may be are under way. Never waits."""
        if self._in_flight >= self._max_in_flight:
            self._metrics.frames.labels(self._camera, "refused").inc()
            self._refusing.hit(in_flight=self._in_flight)
            return
        self._in_flight += 1
        self._metrics.in_flight.labels(self._camera).inc()
        self._deliveries.create_task(self._deliver(frame_id, picture, sequence), name=f"publish {frame_id}")

    async def _deliver(self, frame_id: FrameId, picture: Picture, sequence: int) -> None:
        taken = time.perf_counter()
        try:
            await self._publish(frame_id, picture, sequence)
        except ImageTooLargeError as error:
            self._metrics.frames.labels(self._camera, "too_large").inc()
            self._log.warning("frame.too_large", frame_id=str(frame_id), error=str(error))
            self._settle(frame_id)
        except asyncio.CancelledError:
            self._log.warning("frame.unacknowledged", frame_id=str(frame_id))
            raise
        else:
            self._newest_ns = max(self._newest_ns, frame_id.captured_ns)
            self._metrics.newest_published.labels(self._camera).set(self._newest_ns / NANOSECONDS)
            self._metrics.publish_seconds.labels(self._camera).observe(time.perf_counter() - taken)
            self._metrics.frames.labels(self._camera, "published").inc()
            self._settle(frame_id)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.labels(self._camera).dec()
            if self._in_flight <= self._max_in_flight // 2:  # well below: else each acknowledgement would end it
                self._refusing.end()

    def _settle(self, frame_id: FrameId) -> None:
        self._retrying.discard(frame_id)
        if not self._retrying:  # not one left: else each that gets through would end the spell
            self._failing.end()

    async def _publish(self, frame_id: FrameId, picture: Picture, sequence: int) -> None:
        """Publish until acknowledged, always under the same message id, so that JetStream keeps one of them."""
        words = headers(
            frame_id,
            content_type=picture.content_type,
            width_px=picture.size.width_px,
            height_px=picture.size.height_px,
            sequence=sequence,
        )
        for attempt in itertools.count():
            try:
                await self._publish_once(picture.body, words)
            except (BusUnavailableError, StreamFullError) as error:
                self._retrying.add(frame_id)
                self._failing.hit(error=str(error))
                self._metrics.retries.labels(self._camera).inc()
                await asyncio.sleep(backoff_seconds(attempt, random.random()))  # noqa: S311 - no secret
            else:
                return

    async def _publish_once(self, body: bytes, words: dict[str, str]) -> None:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # nats-py swallows one that comes while it flushes
        await self._bus.publish(self._subject, body, words, timeout=ACK_SECONDS)
