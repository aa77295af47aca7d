"""How fast and how old what goes by is, over the last few seconds: for tables and pages. Pure but for the clock."""

import time
from collections import deque
from dataclasses import dataclass, field

from framemesh.v1.result_pb2 import Result
from framemesh.words import words

_WINDOW_SECONDS = 5.0


class Rate:
    """Events a second over the last few seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._since = time.monotonic()

    def add(self) -> None:
        """One happened now."""
        self._times.append(time.monotonic())

    def value(self) -> float:
        """Events a second at the moment."""
        now = time.monotonic()
        while self._times and self._times[0] < now - _WINDOW_SECONDS:
            self._times.popleft()
        return len(self._times) / max(0.5, min(_WINDOW_SECONDS, now - self._since))


@dataclass(slots=True)
class ModelFigures:
    """What a model's results say of it.

    Attributes:
        answered: Its results, failed ones too.
        failed: How many of them have an error.
        skipped: How many frames its policy passed over.
        latency: Of the newest answer, in seconds.
        staleness: How old the newest answer's frame was, in seconds.
        answer_time_ns: When its newest result was there, in Unix nanoseconds.
        newest: The newest answer in words, with its camera in front.
        newest_error: What went wrong last, likewise; empty where nothing has.
    """

    answered: Rate = field(default_factory=Rate)
    failed: int = 0
    skipped: int = 0
    latency: float = 0.0
    staleness: float = 0.0
    answer_time_ns: int = 0
    newest: str = ""
    newest_error: str = ""

    def add(self, result: Result) -> None:
        """Take the model's next result."""
        self.answered.add()
        self.answer_time_ns = result.answer_time.ToNanoseconds()
        self.skipped += result.skipped_frame_count
        said = f"{result.frame.camera}: {' '.join(words(result.answer)[0])}"
        if result.answer.HasField("error"):
            self.failed += 1
            self.newest_error = said
        if result.replayed:  # a frame of the past: its age is no model's doing
            return
        self.latency = result.latency.ToNanoseconds() / 1e9
        self.staleness = (self.answer_time_ns - result.frame.capture_time.ToNanoseconds()) / 1e9
        self.newest = said
