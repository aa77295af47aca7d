"""Conditions that last for many frames, told of when they begin and when they are over instead of at each frame."""

import time

from structlog.typing import FilteringBoundLogger


class Spell:
    """A bad spell of one kind.

    Args:
        log: Where it is told.
        began: The event's name when it begins, as a warning.
        over: The event's name when it is over.
    """

    def __init__(self, log: FilteringBoundLogger, *, began: str, over: str) -> None:
        self._log = log
        self._began = began
        self._over = over
        self._since: float | None = None
        self._count = 0

    def hit(self, *, times: int = 1, **facts: object) -> None:
        """It has happened once more, or so many times; the first time is told, with these facts."""
        self._count += times
        if self._since is None:
            self._since = time.monotonic()
            self._log.warning(self._began, **facts)

    def end(self) -> None:
        """It is over; told if it had begun."""
        if self._since is not None:
            self._log.info(self._over, count=self._count, duration_seconds=round(time.monotonic() - self._since, 3))
            self._since, self._count = None, 0
