"""When a camera's frames are due: slots at absolute times, in whole nanoseconds, so that nothing drifts. Pure."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from framemesh.frames import NANOSECONDS


@dataclass(frozen=True, slots=True)
class Pace:
    """Slot n is due n/fps seconds after the start and lasts until the next is due.

    Attributes:
        start_ns: When slot 0 is due, by any clock that only runs forward.
        fps: Slots a second, exactly.
    """

    start_ns: int
    fps: Fraction

    @classmethod
    def of(cls, fps: float, *, start_ns: int) -> Self:
        """The pace for a number as people write it: 29.97 is 2997/100, not the binary number next to it."""
        return cls(start_ns, Fraction(str(fps)))

    def due_ns(self, slot: int) -> int:
        """When the slot is due."""
        return self.start_ns + slot * NANOSECONDS * self.fps.denominator // self.fps.numerator

    def next_slot(self, slot: int, now_ns: int) -> int:
        """The slot to fill after this one: the next, or the one that lasts now if that is later.

        Those in between were missed; filling them afterwards would bunch frames that show the same moment.
        """
        whole = (now_ns - self.start_ns + 1) * self.fps.numerator
        lasting = -(-whole // (NANOSECONDS * self.fps.denominator)) - 1
        return max(slot + 1, lasting)
