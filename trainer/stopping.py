"""Being told to stop: by Ctrl-C, or by whoever runs the machine."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedTrainingError(Exception):
    """The training was told to stop; what it had learnt is in the lake."""


@contextmanager
def stopping() -> Iterator[list[int]]:
    """Around the block, the first such signal is noted in the list; a second one is as ever."""
    noted: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def note(number: int, _: FrameType | None) -> None:
        noted.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
