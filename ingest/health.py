"""How one camera is: what its source and its publisher tell, as others may see it."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from threading import Lock

from framemesh.frames import NANOSECONDS
from ingest.metrics import IngestMetrics

_RATE_SECONDS = 5
_EVENTS_KEPT = 256
_LONGEST_ERROR = 500


class SourceState(Enum):
    """What a camera's source does."""

    STARTING = "starting"
    CAPTURING = "capturing"
    STALLED = "stalled"
    LOST = "lost"


class LineState(Enum):
    """What becomes of a camera's frames on the way to NATS."""

    SENDING = "sending"
    SPILLING = "spilling"
    REFUSED = "refused"


class EventKind(Enum):
    """What happened to a camera."""

    CONNECTED = "connected"
    RECOVERED = "recovered"
    STALLED = "stalled"
    LOST = "lost"
    SPILLING = "spilling"
    REFUSED = "refused"
    DRAINED = "drained"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, at a time in Unix nanoseconds, with words where there is more to say."""

    kind: EventKind
    time_ns: int
    words: str = ""


class Rate:
    """How many a second, over the last five whole seconds.

    Args:
        clock: Seconds by a clock that only runs forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._counts: deque[tuple[int, int]] = deque()

    def count(self) -> None:
        """One more, now."""
        second = int(self._clock())
        if self._counts and self._counts[-1][0] == second:
            self._counts[-1] = (second, self._counts[-1][1] + 1)
        else:
            self._counts.append((second, 1))
        self._forget(second)

    def now(self) -> float:
        """The rate; that of the time there was where it is less than five seconds."""
        clock = self._clock()
        second = int(clock)
        self._forget(second)
        whole = sum(number for at, number in self._counts if at < second)
        return whole / min(_RATE_SECONDS, max(1.0, second - self._began))

    def _forget(self, second: int) -> None:
        while self._counts and self._counts[0][0] < second - _RATE_SECONDS:
            self._counts.popleft()


class CameraHealth:
    """One camera's health. Its source tells `captured`, `reconnected`, `stalled` and `failed`; its publisher the rest.

    Never raises, never waits, and may be told from any thread.
    """

    def __init__(self, camera: str, metrics: IngestMetrics, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.camera = camera
        self._metrics = metrics
        self._clock_ns = clock_ns
        self._lock = Lock()
        self._events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self._dropping = False
        self.source = SourceState.STARTING
        self.line = LineState.SENDING
        self.captured_rate = Rate()
        self.published_rate = Rate()
        self.newest_captured_ns = 0
        self.newest_published_ns = 0
        self.captured_count = 0
        self.published_count = 0
        self.dropped_count = 0
        self.reconnect_count = 0
        self.spilled_frames = 0
        self.spilled_bytes = 0
        self.last_error = ""
        self.last_error_ns = 0

    def captured(self, captured_ns: int) -> None:
        """The source gave a picture, taken at a time in Unix nanoseconds: it works."""
        with self._lock:
            self.captured_count += 1
            self.newest_captured_ns = max(self.newest_captured_ns, captured_ns)
            self.captured_rate.count()
            if self.source is not SourceState.CAPTURING:
                before, self.source = self.source, SourceState.CAPTURING
                self._tell(EventKind.CONNECTED if before is SourceState.STARTING else EventKind.RECOVERED)
        self._metrics.source_up.labels(self.camera).set(1)
        self._metrics.captured.labels(self.camera).inc()
        self._metrics.newest_captured.labels(self.camera).set(self.newest_captured_ns / NANOSECONDS)

    def reconnected(self) -> None:
        """The source was opened once more, after it had been lost or had stalled."""
        with self._lock:
            self.reconnect_count += 1
        self._metrics.reconnects.labels(self.camera).inc()

    def stalled(self, silent_seconds: float) -> None:
        """The source is open and has given nothing for so long."""
        with self._lock:
            if self.source is not SourceState.STALLED:
                self.source = SourceState.STALLED
                self._metrics.stalls.labels(self.camera).inc()
                self._metrics.source_up.labels(self.camera).set(0)
                self._tell(EventKind.STALLED, f"no picture for {silent_seconds:.0f} s")

    def failed(self, error: str) -> None:
        """The source can't be opened or read; the words say what to do, without any password. Told of once a spell."""
        with self._lock:
            self._note(error)
            if self.source is not SourceState.LOST:
                self.source = SourceState.LOST
                self._tell(EventKind.LOST, self.last_error)
        self._metrics.source_up.labels(self.camera).set(0)
        self._metrics.source_errors.labels(self.camera).inc()

    def published(self, captured_ns: int) -> None:
        """NATS has a frame on disk."""
        with self._lock:
            self.published_count += 1
            self.newest_published_ns = max(self.newest_published_ns, captured_ns)
            self.published_rate.count()
        self._metrics.newest_published.labels(self.camera).set(self.newest_published_ns / NANOSECONDS)

    def spilled(self, frames: int, size_bytes: int) -> None:
        """So much waits in the buffer now."""
        with self._lock:
            self.spilled_frames, self.spilled_bytes = frames, size_bytes
        self._metrics.buffered_frames.labels(self.camera).set(frames)
        self._metrics.buffered_bytes.labels(self.camera).set(size_bytes)

    def holding(self, error: str, *, refused: bool = False) -> None:
        """Frames go to the buffer instead of NATS; `refused` where NATS lets this camera not publish at all."""
        state = LineState.REFUSED if refused else LineState.SPILLING
        with self._lock:
            self._note(error)
            if self.line is not state:
                self.line = state
                self._tell(EventKind.REFUSED if refused else EventKind.SPILLING, self.last_error)

    def sending(self) -> None:
        """Frames go to NATS as they come, and nothing waits."""
        with self._lock:
            self._dropping = False
            if self.line is not LineState.SENDING:
                self.line = LineState.SENDING
                self._tell(EventKind.DRAINED)

    def dropped(self, count: int, reason: str) -> None:
        """So many frames will never arrive; told of once until frames go to NATS as they come again."""
        with self._lock:
            self.dropped_count += count
            self._note(reason)
            if not self._dropping:
                self._dropping = True
                self._tell(EventKind.DROPPED, reason)

    def noted(self, error: str) -> None:
        """Something is wrong that changes no state."""
        with self._lock:
            self._note(error)

    def events(self) -> list[Event]:
        """What happened since this was last asked, oldest first; of very many the newest."""
        with self._lock:
            happened = list(self._events)
            self._events.clear()
        return happened

    def _note(self, error: str) -> None:
        self.last_error = error[:_LONGEST_ERROR]
        self.last_error_ns = self._clock_ns()

    def _tell(self, kind: EventKind, words: str = "") -> None:
        self._events.append(Event(kind, self._clock_ns(), words))
