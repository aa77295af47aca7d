"""Where frames wait that NATS can't take now: what every such place does, and the one in memory."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from framemesh.frames import FrameId

Keep = Literal["oldest", "newest"]
"""Which frames stay where there is no room for all."""
Place = object
"""Where a buffer has one frame; the buffer alone can tell."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it goes to NATS.

    Attributes:
        frame_id: Its identity.
        body: The encoded picture.
        headers: The message's headers, which carry the identity as the message id.
    """

    frame_id: FrameId
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """A frame and where the buffer has it."""

    frame: Frame
    place: Place


@dataclass(slots=True)
class Losses:
    """Frames that will never arrive, by why.

    Attributes:
        refused: There was no room by the buffer's own bound.
        disk_failed: The disk is full, or doesn't write.
        damaged: They can't be read any more.
        problem: Why in words, as far as they are known.
    """

    refused: int = 0
    disk_failed: int = 0
    damaged: int = 0
    problem: str = ""


class Buffer(Protocol):
    """Keeps frames in the order in which they came. It may block, so it is called in a thread, one call at a time."""

    frames: int
    """How many it holds."""
    size_bytes: int
    """What they take."""
    durable: bool
    """Whether they are there at the next start."""

    def append(self, frames: Sequence[Frame]) -> list[Place | None]:
        """Keep frames behind all others; none in the place of one that could not be kept."""

    def take(self, frames: int, size_bytes: int) -> list[Kept]:
        """The oldest, at most so many and so large, but one at least. They stay until they are `done`.

        None, though there are some, where they can't be read for now.
        """

    def done(self, places: Sequence[Place]) -> None:
        """Let go what has arrived."""

    def hold(self, places: Sequence[Place]) -> None:
        """Let go of others first where room is needed: these are under way."""

    def release(self, places: Sequence[Place]) -> None:
        """End of holding: what is not done by now waits like the rest."""

    def losses(self) -> Losses:
        """What was lost since this was last asked."""

    def sync(self) -> None:
        """Have what was appended survive a power failure too."""

    def close(self) -> None:
        """Use it no more."""


@dataclass(eq=False, slots=True)
class _Entry:
    frame: Frame
    held: bool = False
    done: bool = False


class MemoryBuffer:
    """Frames in memory, for an agent without a disk: they are gone with the process.

    Args:
        max_frames: How many there may be.
        max_bytes: What their pictures may take; one frame is taken whatever it takes.
        keep: Which stay where there is no room for all.
    """

    durable = False

    def __init__(self, *, max_frames: int, max_bytes: int, keep: Keep) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._keep = keep
        self._entries: deque[_Entry] = deque()
        self._losses = Losses()
        self.frames = 0
        self.size_bytes = 0

    def append(self, frames: Sequence[Frame]) -> list[Place | None]:
        """See `Buffer`."""
        return [self._append(frame) for frame in frames]

    def _append(self, frame: Frame) -> Place | None:
        while self.frames and not self._fits(frame):
            victim = (
                next((entry for entry in self._entries if not entry.held), None) if self._keep == "newest" else None
            )
            self._losses.refused += 1
            if victim is None:
                return None
            self._remove(victim)
        entry = _Entry(frame)
        self._entries.append(entry)
        self.frames += 1
        self.size_bytes += len(frame.body)
        return entry

    def _fits(self, frame: Frame) -> bool:
        return self.frames < self._max_frames and self.size_bytes + len(frame.body) <= self._max_bytes

    def take(self, frames: int, size_bytes: int) -> list[Kept]:
        """See `Buffer`."""
        taken: list[Kept] = []
        for entry in self._entries:
            if taken and (len(taken) == frames or size_bytes < len(entry.frame.body)):
                break
            taken.append(Kept(entry.frame, entry))
            size_bytes -= len(entry.frame.body)
        return taken

    def done(self, places: Sequence[Place]) -> None:
        """See `Buffer`."""
        for place in places:
            if isinstance(place, _Entry) and not place.done:
                self._remove(place)

    def _remove(self, entry: _Entry) -> None:
        entry.done = True
        self._entries.remove(entry)
        self.frames -= 1
        self.size_bytes -= len(entry.frame.body)

    def hold(self, places: Sequence[Place]) -> None:
        """See `Buffer`."""
        for place in places:
            if isinstance(place, _Entry):
                place.held = True

    def release(self, places: Sequence[Place]) -> None:
        """See `Buffer`."""
        for place in places:
            if isinstance(place, _Entry):
                place.held = False

    def losses(self) -> Losses:
        """See `Buffer`."""
        losses, self._losses = self._losses, Losses()
        return losses

    def sync(self) -> None:
        """See `Buffer`: nothing survives."""

    def close(self) -> None:
        """See `Buffer`."""
