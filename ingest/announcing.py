"""Telling everybody how the agent's cameras are, and what happens to them."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

import nats.errors
import structlog

from framemesh.bus import Bus, cameras
from framemesh.bus.connection import ACK_SECONDS
from framemesh.bus.streams import CAMERAS_BUCKET
from framemesh.errors import BusUnavailableError, StreamFullError
from framemesh.frames import MESSAGE_ID, timestamp
from framemesh.v1 import camera_pb2 as pb2
from framemesh.waiting import happens
from ingest.health import CameraHealth, Event
from ingest.lines import Line
from ingest.spells import Spell

_LOOK_SECONDS = 0.5
_FAREWELL_SECONDS = 2.0
_EVENTS_KEPT = 1024
_PROBLEMS = (BusUnavailableError, StreamFullError, nats.errors.Error, TimeoutError)


class Announcer:
    """Writes each camera's state to NATS every 2 s, and its events within half a second. It never stops the cameras.

    Events of the time that NATS is away are told afterwards, of very many the newest.

    Args:
        line: The agent's connection.
        healths: Those of its cameras at the moment.
    """

    name = "announcer"

    def __init__(self, line: Line, healths: Callable[[], Iterable[CameraHealth]]) -> None:
        self._line = line
        self._healths = healths
        self._start_ns = time.time_ns()
        self._events: deque[tuple[str, Event]] = deque(maxlen=_EVENTS_KEPT)
        self._told: set[str] = set()
        self._stopping = asyncio.Event()
        self._silent = Spell(structlog.get_logger(), began="announcing.failed", over="announcing.again")

    async def run(self) -> None:
        """Tell until stopped; then take the cameras' states back."""
        heartbeat = time.monotonic()
        while not await happens(self._stopping, within=_LOOK_SECONDS):
            due = time.monotonic() >= heartbeat
            if due:
                heartbeat = time.monotonic() + cameras.HEARTBEAT_SECONDS
            await self._tell(states=due)
        with suppress(*_PROBLEMS):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._tell(states=False)
                await self._forget(set(self._told))

    def stop(self) -> None:
        """Take the states back."""
        self._stopping.set()

    async def _tell(self, *, states: bool) -> None:
        healths = list(self._healths())
        for health in healths:
            self._events.extend((health.camera, event) for event in health.events())
        bus = self._line.bus
        if bus is None or not bus.client.is_connected:
            return
        try:
            await self._tell_events(bus)
            if states:
                await self._tell_states(bus, healths)
                await self._forget(self._told - {health.camera for health in healths})
        except _PROBLEMS as error:  # the gateway makes the bucket: it may not be there yet
            self._silent.hit(error=str(error) or type(error).__name__)
        else:
            self._silent.end()

    async def _tell_events(self, bus: Bus) -> None:
        while self._events:
            camera, event = self._events[0]
            message = pb2.CameraEvent(
                camera=camera,
                kind=pb2.CameraEventKind.Value(f"CAMERA_EVENT_KIND_{event.kind.name}"),
                time=timestamp(event.time_ns),
                details=event.words,
            )
            words = {MESSAGE_ID: f"{camera}-{event.time_ns}-{event.kind.value}"}  # told twice, it is kept once
            await bus.publish(cameras.event_subject(camera), cameras.dump(message), words, timeout=ACK_SECONDS)
            self._events.popleft()

    async def _tell_states(self, bus: Bus, healths: Iterable[CameraHealth]) -> None:
        bucket = await bus.js.key_value(CAMERAS_BUCKET)
        for health in healths:
            await bucket.put(health.camera, cameras.dump(self._state(health)))
            self._told.add(health.camera)

    async def _forget(self, gone: set[str]) -> None:
        bus = self._line.bus
        if not gone or bus is None:
            return
        bucket = await bus.js.key_value(CAMERAS_BUCKET)
        for camera in sorted(gone):
            await bucket.delete(camera)
        self._told -= gone

    def _state(self, health: CameraHealth) -> pb2.Camera:
        return pb2.Camera(
            name=health.camera,
            source_state=pb2.SourceState.Value(f"SOURCE_STATE_{health.source.name}"),
            line_state=pb2.LineState.Value(f"LINE_STATE_{health.line.name}"),
            captured_fps=round(health.captured_rate.now(), 2),
            published_fps=round(health.published_rate.now(), 2),
            newest_capture_time=timestamp(health.newest_captured_ns) if health.newest_captured_ns else None,
            newest_published_capture_time=(
                timestamp(health.newest_published_ns) if health.newest_published_ns else None
            ),
            captured_frame_count=health.captured_count,
            published_frame_count=health.published_count,
            dropped_frame_count=health.dropped_count,
            reconnect_count=health.reconnect_count,
            spilled_frame_count=health.spilled_frames,
            spilled_size_bytes=health.spilled_bytes,
            last_error=health.last_error,
            last_error_time=timestamp(health.last_error_ns) if health.last_error_ns else None,
            start_time=timestamp(self._start_ns),
            heartbeat_time=timestamp(time.time_ns()),
        )
