"""One camera's frames on their way to JetStream: straight from memory while it takes them, else behind the backlog."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from framemesh.frames import FrameId, headers
from ingest.backlog import TROUBLE, Backlog, Flight
from ingest.buffers import Buffer, Frame, Losses, MemoryBuffer
from ingest.health import CameraHealth
from ingest.metrics import IngestMetrics
from ingest.pictures import Picture
from ingest.sending import Line, Sending

MEMORY_BYTES = 16 * 1024 * 1024
"""What one camera's frames may take in memory; at most half of it is under way to NATS."""
_PATIENCE_SECONDS = 1.0
"""A frame without a receipt for so long goes into the buffer too, so that it survives this process."""


class Publisher:
    """Publishes around a block; leaving it waits until every frame that was taken has arrived.

    While JetStream takes frames, each goes there at once, several at a time. As soon as it doesn't, every frame goes
    through the buffer until that is empty again, so they arrive in the order in which they were taken. Where leaving is
    cancelled, the buffer keeps the rest, for the next start if it is on disk.

    Args:
        line: Where they go.
        metrics: Of the agent.
        camera: The camera's name.
        max_in_flight: Frames under way at once while JetStream takes them.
        buffer: Opens where frames wait; unset, or where it raises an `OSError`, as many as may be in flight wait in
            memory.
        health: The camera's; unset, one of the publisher's own.
        turns: Of the agent's cameras: whoever sends more than one frame from its buffer has one.
    """

    def __init__(
        self,
        line: Line,
        metrics: IngestMetrics,
        *,
        camera: str,
        max_in_flight: int,
        buffer: Callable[[], Buffer] | None = None,
        health: CameraHealth | None = None,
        turns: asyncio.Semaphore | None = None,
    ) -> None:
        self.health = health or CameraHealth(camera, metrics)
        self._camera = camera
        self._in_flight = metrics.in_flight.labels(camera)
        self._max_in_flight = max_in_flight
        self._sending = Sending(line, self.health, metrics)
        self._tasks = asyncio.TaskGroup()
        self._publishes: set[asyncio.Task[None]] = set()
        self._flights: dict[FrameId, Flight] = {}
        self._flying_bytes = 0
        self._memory_bytes = 0
        memory = MemoryBuffer(max_frames=max_in_flight, max_bytes=MEMORY_BYTES, keep="oldest")
        self._backlog = Backlog(
            self._sending,
            self.health,
            metrics,
            open_buffer=buffer or (lambda: memory),
            fallback=memory,
            turns=turns or asyncio.Semaphore(1),
            flying=lambda: len(self._flights),
            forget=self._forget,
        )

    async def __aenter__(self) -> Self:
        await self._backlog.open()
        await self._tasks.__aenter__()
        self._writer = self._tasks.create_task(self._backlog.write(), name=f"buffer {self._camera}")
        self._drainer = self._tasks.create_task(self._backlog.drain(), name=f"drain {self._camera}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self._backlog.idle()
        finally:
            try:
                await asyncio.shield(asyncio.create_task(self._leave()))  # cancelled twice, it still keeps frames
            finally:
                await self._tasks.__aexit__(kind, error, trace)

    def offer(self, frame_id: FrameId, picture: Picture, *, sequence: int) -> None:
        """Take a frame, or drop it where memory is full because the buffer is too slow. Never waits."""
        size = len(picture.body)
        if self._memory_bytes and self._memory_bytes + size > MEMORY_BYTES:
            self._backlog.lose(Losses(refused=1, problem="frames come faster than the buffer takes them"))
            return
        words = headers(
            frame_id,
            content_type=picture.content_type,
            width_px=picture.size.width_px,
            height_px=picture.size.height_px,
            sequence=sequence,
        )
        self._memory_bytes += size
        flight = Flight(Frame(frame_id, picture.body, words), time.monotonic())
        if not self._backlog.active and not self._has_room(flight):
            self._backlog.begin(list(self._flights.values()))
        if self._backlog.active:
            self._backlog.put(flight)
        else:
            self._take_off(flight)

    def _has_room(self, flight: Flight) -> bool:
        """Whether one more may be under way, and those that are get their receipts in time."""
        if not self._flights:
            return True
        oldest = next(iter(self._flights.values()))
        return (
            len(self._flights) < self._max_in_flight
            and self._flying_bytes + len(flight.frame.body) <= MEMORY_BYTES // 2
            and flight.began - oldest.began < _PATIENCE_SECONDS
        )

    def _take_off(self, flight: Flight) -> None:
        flight.flying = True
        self._flights[flight.frame.frame_id] = flight
        self._flying_bytes += len(flight.frame.body)
        self._in_flight.set(len(self._flights))
        task = self._tasks.create_task(self._fly(flight), name=f"publish {flight.frame.frame_id}")
        self._publishes.add(task)
        task.add_done_callback(self._publishes.discard)

    async def _fly(self, flight: Flight) -> None:
        """Publish a frame from memory, once; where that fails it waits like all that come after it."""
        try:
            if await self._sending.send(flight.frame, under_way_bytes=self._flying_bytes) and not flight.lost:
                self._sending.arrived(flight.frame)
            flight.arrived = True
        except TROUBLE as error:
            self._backlog.failed(error)
            if not self._backlog.active:
                self._backlog.begin(list(self._flights.values()))
        finally:
            flight.flying = False
            del self._flights[flight.frame.frame_id]
            self._flying_bytes -= len(flight.frame.body)
            self._in_flight.set(len(self._flights))
        if not flight.queued:
            self._forget(flight)
        await self._backlog.landed(flight)

    def _forget(self, flight: Flight) -> None:
        self._memory_bytes -= len(flight.frame.body)

    async def _leave(self) -> None:
        """Stop sending, and have the buffer keep what has not arrived."""
        if self._flights and not self._backlog.active:
            self._backlog.begin(list(self._flights.values()))
        sending = [*self._publishes, self._drainer]
        for task in sending:
            task.cancel()
        await asyncio.wait(sending)
        await self._backlog.close(self._writer)
