"""How many images to have at one model server at once. Pure: the clock is an argument."""

_AHEAD = 2.0
_PER_WORKER = 16
_REFUSED_SECONDS = 0.2


class Limit:
    """Grows by one with each round of answers that hardly waited there, shrinks by 0.1 with each that waited long.

    What waits at the server keeps it busy, and lets it batch; more than that ages the frames, and is lost with it.

    Args:
        workers: How many images the server runs at once, from 1.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._value = _AHEAD * workers
        self._refused_at = float("-inf")

    @property
    def value(self) -> int:
        """Images at once, from 1."""
        return int(self._value)

    def answered(self, *, waited: float, worked: float, in_flight: int) -> None:
        """An image was answered.

        Args:
            waited: Seconds that it waited at the server.
            worked: Seconds of work on it.
            in_flight: How many there were at the server when it was sent, itself among them.
        """
        if waited > 2 * worked:
            self._value = max(1.0, self._value - 0.1)
        elif waited <= worked and in_flight >= self.value:  # a limit that isn't reached says nothing
            self._value = min(float(_PER_WORKER * self._workers), self._value + 1 / self._value)

    def refused(self, now: float) -> None:
        """The server's queue was full; `now` in seconds. Refusals at the same moment count once."""
        if now >= self._refused_at + _REFUSED_SECONDS:
            self._refused_at = now
            self._value = max(1.0, self._value / 2)

    def restart(self) -> None:
        """The server was away: one image first."""
        self._value = 1.0
