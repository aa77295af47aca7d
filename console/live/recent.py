"""The frames and answers of the last seconds, within bounds of memory."""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from framemesh.v1.answer_pb2 import ModelAnswer
from framemesh.v1.frame_pb2 import Frame

KEEP_NS = 4_000_000_000
"""How long frames and answers are kept, by the clock of their own camera; its newest frame stays."""
_RATE_SECONDS = 5.0
_FEWEST = 3
_SAME_NS = 3_000_000_000
MAX_CAMERAS = 64
_numbers = count()


@dataclass(slots=True, eq=False)
class Shot:
    """A frame that went by.

    Attributes:
        camera: Who took it.
        captured_ns: When, in Unix nanoseconds.
        frame_id: Empty where it came without one: then the stream names it, which only its answers tell.
        body: The encoded image.
        number: Tells it from all others that were or will be, as its address in memory doesn't.
    """

    camera: str
    captured_ns: int
    frame_id: str
    body: bytes
    number: int = field(default_factory=_numbers.__next__, init=False)


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What a model said of a frame, in `size_bytes` on the wire; `number` is as a frame's."""

    frame_id: str
    captured_ns: int
    answer: ModelAnswer
    size_bytes: int
    number: int = field(default_factory=_numbers.__next__, init=False)


class RecentFrames:
    """Frames by camera, at most so many bytes in all; of each camera the newest at least.

    Args:
        max_bytes: What all of them may take.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._shots: dict[str, deque[Shot]] = {}
        self._arrivals: dict[str, deque[float]] = {}

    def add(self, shot: Shot, now: float) -> None:
        """Take a frame in; beyond `MAX_CAMERAS` cameras, none of another."""
        if shot.camera not in self._shots and len(self._shots) >= MAX_CAMERAS:
            return
        shots = self._shots.setdefault(shot.camera, deque())
        shots.append(shot)
        self._bytes += len(shot.body)
        while abs(shots[0].captured_ns - shot.captured_ns) > KEEP_NS:  # a clock may be set back too
            self._drop(shots)
        while self._bytes > self._max_bytes and (longest := max(self._shots.values(), key=len)) and len(longest) > 1:
            self._drop(longest)
        arrivals = self._arrivals.setdefault(shot.camera, deque())
        arrivals.append(now)
        while arrivals[0] < now - _RATE_SECONDS:
            arrivals.popleft()

    def cameras(self) -> list[str]:
        """Whose frames are here, by name."""
        return sorted(self._shots)

    def of(self, camera: str) -> list[Shot]:
        """A camera's frames, the newest first."""
        return list(reversed(self._shots.get(camera, ())))

    def fps(self, camera: str, now: float) -> float:
        """Frames a second, over the last five or since the first."""
        arrivals = [then for then in self._arrivals.get(camera, ()) if then > now - _RATE_SECONDS]
        if len(arrivals) < _FEWEST:
            return len(arrivals) / _RATE_SECONDS
        return (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) if arrivals[-1] > arrivals[0] else 0.0

    def silent_seconds(self, camera: str, now: float) -> float | None:
        """How long ago its newest frame came; none where none has."""
        arrivals = self._arrivals.get(camera)
        return now - arrivals[-1] if arrivals else None

    def name(self, frame: Frame) -> None:
        """Give a frame that came without an id the one that an answer has: it is of the same size and moment."""
        at_ns = frame.capture_time.ToNanoseconds()
        for shot in reversed(self._shots.get(frame.camera, ())):
            same = len(shot.body) == frame.size_bytes and abs(shot.captured_ns - at_ns) < _SAME_NS
            if not shot.frame_id and same:
                shot.frame_id, shot.captured_ns = frame.frame_id, at_ns
                return

    def forget(self, cameras: Iterable[str]) -> None:
        """Drop cameras that are no more."""
        for camera in cameras:
            self._bytes -= sum(len(shot.body) for shot in self._shots.pop(camera, ()))
            self._arrivals.pop(camera, None)

    def _drop(self, shots: deque[Shot]) -> None:
        self._bytes -= len(shots.popleft().body)


class RecentAnswers:
    """Answers by camera and model, at most so many bytes in all: beyond them the oldest of all go.

    Args:
        max_bytes: What all of them may take.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._said: OrderedDict[tuple[str, str, str], Said] = OrderedDict()
        self._newest: dict[tuple[str, str], deque[str]] = {}

    def add(self, camera: str, said: Said) -> None:
        """Take an answer in."""
        key = (camera, said.answer.model, said.frame_id)
        ids = self._newest.setdefault(key[:2], deque())
        if key in self._said:  # a retried one takes its place
            self._bytes -= self._said.pop(key).size_bytes
        else:
            ids.append(said.frame_id)
        self._said[key] = said
        self._bytes += said.size_bytes
        while abs(self._said[*key[:2], ids[0]].captured_ns - said.captured_ns) > KEEP_NS:
            self._drop(*key[:2], ids[0])
        while self._bytes > self._max_bytes and self._said:
            self._drop(*next(iter(self._said)))

    def of(self, camera: str, model: str) -> list[Said]:
        """What a model said of a camera's frames, the newest first."""
        ids = self._newest.get((camera, model), ())
        return [self._said[camera, model, frame_id] for frame_id in reversed(ids)]

    def _drop(self, camera: str, model: str, frame_id: str) -> None:
        self._bytes -= self._said.pop((camera, model, frame_id)).size_bytes
        ids = self._newest[camera, model]
        ids.remove(frame_id)
        if not ids:
            del self._newest[camera, model]
