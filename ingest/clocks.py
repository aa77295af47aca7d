"""When a frame was taken: by whose clock, and never backwards. Pure: time is an argument."""

from framemesh.frames import NANOSECONDS

_WAIT_NS = 10 * NANOSECONDS
"""How long a camera may send pictures before it says what time it is; RTCP's reports come about every five seconds."""
_BELIEVED_NS = 86_400 * NANOSECONDS
"""A clock that is a day off was never set, or runs from when the camera was started."""


class CaptureClock:
    """Gives one camera's frames their times, each later than the one before.

    Args:
        by_camera: Go by the camera's own clock. Between its words its clock is taken to run as ours; a camera that says
            nothing believable in its first ten seconds gets our time for good. A recording that says nothing does so at
            once; one that says something unbelievable, as a folder of an old file, is listened to again at the next.
    """

    def __init__(self, *, by_camera: bool) -> None:
        self._by_camera = by_camera
        self._ahead_ns: int | None = None if by_camera else 0
        self._first_arrival_ns: int | None = None
        self._last_ns = 0

    def capture_ns(self, told_ns: int | None, *, arrived_ns: int, tells_later: bool = True) -> int | None:
        """A frame's capture time in Unix nanoseconds; none where it can't be told yet.

        Args:
            told_ns: What the camera's own clock said; none where it said nothing.
            arrived_ns: When the frame arrived, by ours.
            tells_later: Whether the source may yet say what time it is, as a recording never does.
        """
        if self._by_camera and told_ns is not None and abs(told_ns - arrived_ns) < _BELIEVED_NS:
            self._ahead_ns = told_ns - arrived_ns
        if self._ahead_ns is None:
            if self._first_arrival_ns is None:
                self._first_arrival_ns = arrived_ns
            if tells_later and arrived_ns - self._first_arrival_ns < _WAIT_NS:
                return None
            if tells_later or told_ns is None:  # else it is a folder: each file tells
                self._by_camera, self._ahead_ns = False, 0
        self._last_ns = max(arrived_ns + (self._ahead_ns or 0), self._last_ns + 1)
        return self._last_ns
