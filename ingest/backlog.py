"""Frames that wait for NATS: into the buffer as they come, out of it in the same order, in turn with other cameras."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from framemesh.errors import BusUnavailableError, PublishDeniedError, StreamFullError
from framemesh.waiting import Backoff, happens
from ingest.buffers import Buffer, Frame, Kept, Losses, Place
from ingest.health import CameraHealth
from ingest.metrics import IngestMetrics
from ingest.sending import Sending
from ingest.spells import Spell

TROUBLE = (BusUnavailableError, StreamFullError)
"""Why a frame has to wait."""

_FIRST_RETRY_SECONDS = 0.05
_LAST_RETRY_SECONDS = 2.0
_SYNC_SECONDS = 1.0
_SLOW_SECONDS = 5.0
"""Waiting frames are told of after so long, though nothing has failed."""
_MOST_FRAMES = 32
_MOST_BYTES = 4 * 1024 * 1024
_QUICK_SECONDS = 0.25
_LONG_SECONDS = 1.0

T = TypeVar("T")


def next_batch(sent: int, took_seconds: float) -> int:
    """How many frames to send at once after a batch that arrived: twice as many where it was quick, half where slow."""
    if took_seconds < _QUICK_SECONDS:
        return min(2 * sent, _MOST_FRAMES)
    return max(1, sent // 2) if took_seconds > _LONG_SECONDS else sent


@dataclass(eq=False, slots=True)
class Flight:
    """A frame in memory: under way to NATS, on its way into the buffer, or both.

    Attributes:
        frame: The frame.
        began: When it was taken, by the monotonic clock.
        flying: A publish of it may yet succeed.
        arrived: NATS has it, or never will.
        queued: It has yet to be put into the buffer.
        place: Where the buffer has it.
        lost: The buffer had no room for it, and has counted it.
    """

    frame: Frame
    began: float
    flying: bool = False
    arrived: bool = False
    queued: bool = False
    place: Place | None = None
    lost: bool = False


class Backlog:
    """One camera's frames that wait. Once one has to, all do that come after it, until not one is left.

    Args:
        sending: Sends them.
        open_buffer: Opens where they wait, in a thread of its own. It may raise an `OSError`.
        fallback: Where they wait then.
        turns: Shared by an agent's cameras: whoever sends more than one frame from its buffer has one.
        flying: How many frames are under way from memory; the backlog waits for them.
        forget: Called with each frame that is no longer in memory.
    """

    def __init__(
        self,
        sending: Sending,
        health: CameraHealth,
        metrics: IngestMetrics,
        *,
        open_buffer: Callable[[], Buffer],
        fallback: Buffer,
        turns: asyncio.Semaphore,
        flying: Callable[[], int],
        forget: Callable[[Flight], None],
    ) -> None:
        self._sending = sending
        self._health = health
        self._metrics = metrics
        self._open_buffer = open_buffer
        self._buffer = fallback
        self._turns = turns
        self._flying = flying
        self._forget = forget
        self._queue: deque[Flight] = deque()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix=f"buffer {health.camera}")
        self._since = time.monotonic()
        self._closing = False
        self._troubled = False
        self._landing = False  # frames that were under way are being put into the buffer, which may yet let go of them
        self.active = False
        """Whether frames have to wait."""
        self.changed = asyncio.Event()
        """Set whenever something ends that may be waited for; who waits clears it and looks again."""
        self._arrivals = asyncio.Event()
        self._log = structlog.get_logger().bind(camera=health.camera)
        self._losing = Spell(self._log, began="camera.refusing", over="camera.accepting")
        self._failing = Spell(self._log, began="publish.failing", over="publish.recovered")

    async def open(self) -> None:
        """Open the buffer; what it has from before waits already."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._disk, self._open)
        except OSError as error:
            why = f"frames wait in memory alone, as the buffer can't be used: {error}"
            self._log.error("buffer.unusable", error=why)
            self._health.noted(why)
        except asyncio.CancelledError:
            self._disk.submit(self._close)  # behind the opening, which goes on
            raise
        if self._buffer.frames:
            self._log.info("frames.found_from_before", frames=self._buffer.frames, size_bytes=self._buffer.size_bytes)
            self.begin([])
        self._health.spilled(self._buffer.frames, self._buffer.size_bytes)
        self.lose(self._buffer.losses())

    def begin(self, flights: Sequence[Flight]) -> None:
        """Have all frames wait from now on, first those under way, which may never arrive."""
        self.active = True
        self._since = time.monotonic()
        for flight in flights:
            self.put(flight)
        self.changed.set()

    def put(self, flight: Flight) -> None:
        """Have a frame wait behind all others."""
        flight.queued = True
        self._queue.append(flight)
        self._arrivals.set()

    def failed(self, error: Exception) -> None:
        """Note that a publish has failed."""
        self._troubled = True
        self._metrics.retries.labels(self._health.camera).inc()
        self._failing.hit(error=str(error))
        self._health.holding(str(error), refused=isinstance(error, PublishDeniedError))

    async def landed(self, flight: Flight) -> None:
        """A frame that was under way no longer is."""
        if flight.place is not None:
            await self._let_go([flight.place], [flight.place] if flight.arrived else [])
        self.changed.set()

    def lose(self, losses: Losses) -> None:
        """Count frames that will never arrive."""
        for outcome, count, why in (
            ("refused", losses.refused, losses.problem or "more frames wait for NATS than may"),
            ("disk_failed", losses.disk_failed, losses.problem),
            ("damaged", losses.damaged, losses.problem or "frames in the buffer's files were torn or damaged"),
        ):
            if count:
                self._count(outcome, count, why)
                self._losing.hit(times=count, outcome=outcome, error=why)
        if losses.problem:
            self._health.noted(losses.problem)

    async def idle(self) -> None:
        """Wait until nothing waits and nothing is under way."""
        await self._until(lambda: not self.active and not self._flying())

    async def write(self) -> None:
        """Put frames into the buffer as they come, until closed."""
        while not (self._closing and not self._queue):
            if not self._queue:
                self._arrivals.clear()
                if not await happens(self._arrivals, within=_SYNC_SECONDS) and self.active:
                    await self._ask(self._buffer.sync)
                continue
            batch = list(self._queue)
            await self._store([flight for flight in batch if not flight.arrived])
            for flight in batch:
                self._queue.popleft()
                flight.queued = False
                if not flight.flying:
                    self._forget(flight)
            self.changed.set()

    async def drain(self) -> None:
        """Send what waits, oldest first, until cancelled."""
        backoff, size = Backoff(_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS), 1
        while True:
            await self._until(lambda: self.active and not self._flying() and not self._landing)
            taken = await self._ask(self._take, size)
            if not taken and self._buffer.frames:  # they can't be read now, or have only just come
                await asyncio.sleep(backoff.next_seconds())
                continue
            if not taken:
                await self._until(lambda: bool(self._buffer.frames) or not self._queue)
                if not self._buffer.frames and not self._queue:
                    self._end()
                continue
            async with self._turns if size > 1 else nullcontext():
                began = time.monotonic()
                arrived = await self._send(taken)
            await self._let_go([kept.place for kept in taken], arrived)
            if len(arrived) == len(taken):
                backoff.reset()
                size = next_batch(size, time.monotonic() - began)
                self._tell_if_slow()
            else:
                await asyncio.sleep(backoff.next_seconds())
                size = 1

    async def close(self, writer: asyncio.Task[None]) -> None:
        """Keep what is in memory, so far as the buffer outlives the process, and use it no more."""
        self._closing = True
        self._arrivals.set()
        await asyncio.wait([writer])
        left = self._buffer.frames
        if left and not self._buffer.durable:
            self._count("cut", left, "the agent stopped before NATS had them, and there is no disk for them")
            self._log.warning("frames.unacknowledged", frames=left)
        elif left:
            self._log.info("frames.kept_for_the_next_start", frames=left, size_bytes=self._buffer.size_bytes)
        await self._ask(self._close)
        self._disk.shutdown(wait=False)

    def _open(self) -> None:
        self._buffer = self._open_buffer()

    def _close(self) -> None:
        self._buffer.close()

    async def _store(self, flights: Sequence[Flight]) -> None:
        """Put frames into the buffer; of those under way it is told, that it may let go of others first."""
        flying = [flight.flying for flight in flights]
        self._landing = any(flying)
        places = await self._ask(self._keep, [flight.frame for flight in flights], flying)
        for flight, place in zip(flights, places, strict=True):
            flight.place, flight.lost = place, place is None
        self._metrics.spilled.labels(self._health.camera).inc(sum(place is not None for place in places))
        landed = [flight for flight, flew in zip(flights, flying, strict=True) if flew and not flight.flying]
        await self._let_go([flight.place for flight in landed], [flight.place for flight in landed if flight.arrived])
        self._landing = False

    def _keep(self, frames: Sequence[Frame], flying: Sequence[bool]) -> list[Place | None]:
        places = self._buffer.append(frames)
        self._buffer.hold([place for place, flies in zip(places, flying, strict=True) if flies])
        return places

    def _take(self, frames: int) -> list[Kept]:
        taken = self._buffer.take(frames, _MOST_BYTES)
        self._buffer.hold([kept.place for kept in taken])
        return taken

    async def _let_go(self, places: Sequence[Place], arrived: Sequence[Place]) -> None:
        """Hold no more what was under way, and drop of it what has arrived."""
        if places:
            await self._ask(self._release, places, arrived)

    def _release(self, places: Sequence[Place], arrived: Sequence[Place]) -> None:
        self._buffer.release(places)
        self._buffer.done(arrived)

    async def _send(self, taken: Sequence[Kept]) -> list[Place]:
        """Send frames at once; returns the places of those that need not be sent again."""
        size_bytes = sum(len(kept.frame.body) for kept in taken)
        over = await asyncio.gather(*(self._send_one(kept.frame, size_bytes) for kept in taken))
        return [kept.place for kept, is_over in zip(taken, over, strict=True) if is_over]

    async def _send_one(self, frame: Frame, under_way_bytes: int) -> bool:
        try:
            if await self._sending.send(frame, under_way_bytes=under_way_bytes):
                self._sending.arrived(frame)
        except TROUBLE as error:
            self.failed(error)
            return False
        return True

    def _end(self) -> None:
        """Nothing waits any more: frames go to NATS as they come."""
        self.active = False
        self._troubled = False
        self._failing.end()
        self._losing.end()
        self._health.sending()
        self.changed.set()

    def _count(self, outcome: str, count: int, why: str) -> None:
        self._metrics.frames.labels(self._health.camera, outcome).inc(count)
        self._health.dropped(count, why)

    def _tell_if_slow(self) -> None:
        if not self._troubled and time.monotonic() > self._since + _SLOW_SECONDS:
            self._health.holding("frames come faster than NATS acknowledges them")

    async def _ask(self, call: Callable[..., T], *arguments: Any) -> T:
        """Call the buffer, in its thread, and count what it has lost."""
        answer, losses = await asyncio.get_running_loop().run_in_executor(self._disk, self._called, call, arguments)
        self.lose(losses)
        self._health.spilled(self._buffer.frames, self._buffer.size_bytes)
        return answer

    def _called(self, call: Callable[..., T], arguments: tuple[Any, ...]) -> tuple[T, Losses]:
        return call(*arguments), self._buffer.losses()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()
