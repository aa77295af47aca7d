"""How many of a source's shots are wanted. Pure: time is an argument."""

_LONGEST_GAP_SECONDS = 10.0
"""A step of the source's time over which nothing is to be made up, such as one of a clock that was set."""
_BURST = 2.0


class FpsCap:
    """Lets through so many shots a second, evenly, and all of a source that has no more.

    A camera's frames don't come quite evenly: slots of equal length would lose some of a source that has just the rate
    asked for. So there is credit for one shot that comes early.

    Args:
        fps: Shots a second at most, on average.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._credit = _BURST
        self._last_seconds: float | None = None

    def admits(self, at_seconds: float) -> bool:
        """Whether the next shot is wanted.

        Args:
            at_seconds: When it was taken, by any clock.
        """
        if self._last_seconds is not None:
            passed = at_seconds - self._last_seconds
            if 0 <= passed <= _LONGEST_GAP_SECONDS:
                self._credit = min(_BURST, self._credit + passed * self._fps)
            else:
                self._credit = max(1.0, self._credit)
        self._last_seconds = at_seconds
        if self._credit < 1 - 1e-6:
            return False
        self._credit -= 1
        return True


class Lag:
    """Tells when a live source's reader has fallen behind it, and is to skip to the newest.

    How late a frame is can't be known, only how much later than the earliest one came: more than a second of that is
    either our own delay, which skipping mends, or the source's, to which we then get used.
    """

    LIMIT_SECONDS = 1.0

    def __init__(self) -> None:
        self._least: float | None = None
        self._skipping_from: float | None = None

    def skips(self, *, taken_seconds: float, now_seconds: float, is_key: bool) -> bool:
        """Whether to pass over a frame undecoded.

        Args:
            taken_seconds: When it was taken, by the source's clock.
            now_seconds: When it is read, by ours.
            is_key: Whether decoding can begin with it.
        """
        delay = now_seconds - taken_seconds
        if self._least is None or delay < self._least:
            self._least = delay
        late = delay - self._least
        if self._skipping_from is None:
            if late <= self.LIMIT_SECONDS:
                return False
            self._skipping_from = late
            return not is_key
        if not is_key:
            return True
        if late > self.LIMIT_SECONDS and late > self._skipping_from / 2:
            self._least = delay  # skipping didn't help: it is the source that is late
        self._skipping_from = None
        return False
