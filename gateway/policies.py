"""Which stored frames a model sees, and in which order. Pure: no clock, no I/O."""

from collections import deque
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from framemesh.v1.model_pb2 import FramePolicy

Item = TypeVar("Item")

_NANOSECONDS = 1_000_000_000
_REORDER_NS = 5 * _NANOSECONDS


@dataclass(frozen=True, slots=True)
class Waiting(Generic[Item]):
    """A frame that waits for a model.

    Attributes:
        camera: Who took it.
        sequence: Its place among all stored frames. Unlike its capture time, no camera's clock can spoil it.
        captured_ns: When it was taken, in Unix nanoseconds, by the camera's clock.
        stored_ns: When it was stored, in Unix nanoseconds, by the gateway's clock.
        item: What its owner needs to go on with it.
    """

    camera: str
    sequence: int
    captured_ns: int
    stored_ns: int
    item: Item

    def is_newer_than(self, other: "Waiting[Item]") -> bool:
        """Whether it was stored later, and not taken earlier: frames stored at once may change places.

        A capture time in the future, or one that goes back further than frames change places, is a clock that was
        set: it decides nothing.
        """
        if self.sequence <= other.sequence:
            return False
        back_ns = min(other.captured_ns, other.stored_ns) - min(self.captured_ns, self.stored_ns)
        return not 0 < back_ns <= _REORDER_NS


class Queue(Protocol[Item]):
    """What waits for one model."""

    def offer(self, frame: Waiting[Item]) -> list[Waiting[Item]]:
        """Take a frame in; return those that the model will never see because of it, maybe itself."""

    def take(self) -> Waiting[Item] | None:
        """The frame that the model sees next; none where nothing waits."""

    def restore(self, frame: Waiting[Item]) -> list[Waiting[Item]]:
        """Take back a frame that the model could not see; return it where its place is another's by now."""

    def __len__(self) -> int:
        """How many wait."""


class EveryQueue(Generic[Item]):
    """Each frame, in the order of storing."""

    def __init__(self) -> None:
        self._frames: deque[Waiting[Item]] = deque()

    def offer(self, frame: Waiting[Item]) -> list[Waiting[Item]]:
        """Take a frame in; nothing is ever skipped."""
        self._frames.append(frame)
        return []

    def take(self) -> Waiting[Item] | None:
        """The frame that has waited longest."""
        return self._frames.popleft() if self._frames else None

    def restore(self, frame: Waiting[Item]) -> list[Waiting[Item]]:
        """Take back a frame as the first in line."""
        self._frames.appendleft(frame)
        return []

    def __len__(self) -> int:
        return len(self._frames)


class LatestQueue(Generic[Item]):
    """The newest frame of each camera; cameras take turns.

    Args:
        max_fps: Frames a second of each camera at most, by the time of storing; none means as many as the model takes.
    """

    def __init__(self, max_fps: float | None = None) -> None:
        self._interval_ns = round(_NANOSECONDS / max_fps) if max_fps is not None else 0
        self._newest: dict[str, Waiting[Item]] = {}  # in the order in which the cameras' turns come
        self._taken: dict[str, Waiting[Item]] = {}
        self._due_ns: dict[str, int] = {}

    def offer(self, frame: Waiting[Item]) -> list[Waiting[Item]]:
        """Take a frame in; return the one it overtakes, or itself where it comes too early or too late."""
        waiting = self._newest.get(frame.camera)
        newest = waiting or self._taken.get(frame.camera)
        # A quarter of an interval early is in time: a camera as fast as the limit would else lose frames by jitter.
        early_ns = self._due_ns.get(frame.camera, 0) - frame.stored_ns - self._interval_ns // 4
        # Early by more than two intervals: the clock was set back, and nothing is due before it catches up.
        if (newest is not None and not frame.is_newer_than(newest)) or 0 < early_ns <= 2 * self._interval_ns:
            return [frame]
        self._newest[frame.camera] = frame  # a camera that waits already keeps its turn
        return [waiting] if waiting is not None else []

    def take(self) -> Waiting[Item] | None:
        """The newest frame of the camera whose turn it is."""
        if not self._newest:
            return None
        camera = next(iter(self._newest))
        frame = self._newest.pop(camera)
        self._taken[camera] = frame
        # Due times advance by whole intervals, so that 30 frames a second thin out to 10 and not, by jitter, to 7.5.
        due_ns = self._due_ns.get(camera, frame.stored_ns) + self._interval_ns
        if not frame.stored_ns < due_ns <= frame.stored_ns + 2 * self._interval_ns:
            due_ns = frame.stored_ns + self._interval_ns
        self._due_ns[camera] = due_ns
        return frame

    def restore(self, frame: Waiting[Item]) -> list[Waiting[Item]]:
        """Take back a frame, unless its camera has sent a newer one."""
        if frame.camera in self._newest or self._taken[frame.camera].is_newer_than(frame):
            return [frame]
        self._newest[frame.camera] = frame
        return []

    def __len__(self) -> int:
        return len(self._newest)


def queue_for(policy: FramePolicy) -> EveryQueue[Item] | LatestQueue[Item]:
    """An empty queue that follows the policy."""
    match policy.WhichOneof("policy"):
        case "every":
            return EveryQueue()
        case "max_fps":
            return LatestQueue(policy.max_fps)
        case _:
            return LatestQueue()
