"""What is counted while pairs go by, in memory that grows with the classes and cameras, not with the frames."""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Generic, TypeVar

from framemesh.comparing.comparison import Estimate, Seconds
from framemesh.comparing.estimates import Sums, mean

K = TypeVar("K", bound=Hashable)

_STEP = math.log(1.01)
_LEAST_SECONDS = 1e-6
_BINS = 10


class Ratios(Generic[K]):
    """Ratios by key. Frames come cluster by cluster: what one counts is kept until it is closed."""

    def __init__(self) -> None:
        self.sums: dict[K, Sums] = defaultdict(Sums)
        self._open: dict[K, list[float]] = {}

    def note(self, key: K, y: float, n: float) -> None:
        """Count in the open cluster."""
        now = self._open.get(key)
        if now is None:
            self._open[key] = [y, n]
        else:
            now[0] += y
            now[1] += n

    def close(self, *, whole: float | None = None) -> None:
        """Close the cluster; where the ratios are of a `whole` that all keys share, that is its size."""
        for key, (y, n) in self._open.items():
            self.sums[key].add(y, n if whole is None else whole)
        self._open.clear()


class Quantiles:
    """Quantiles of spans of time, each within 1 %: a histogram whose buckets grow by as much."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = defaultdict(int)

    def note(self, seconds: float | None) -> None:
        """Count one; a clock that is behind may make an age negative, which counts as none."""
        if seconds is not None:
            self._counts[round(math.log(max(seconds, _LEAST_SECONDS)) / _STEP)] += 1

    def found(self) -> Seconds | None:
        """The median and the 99th percentile; none of nothing."""
        return Seconds(self._at(0.5), self._at(0.99)) if self._counts else None

    def _at(self, quantile: float) -> float:
        wanted = quantile * sum(self._counts.values())
        buckets = sorted(self._counts)
        place = bisect_left(list(accumulate(self._counts[each] for each in buckets)), wanted)
        return math.exp(buckets[place] * _STEP)


@dataclass(slots=True)
class Mean:
    """A plain mean."""

    sum: float = 0.0
    count: int = 0

    def note(self, value: float | None) -> None:
        """Count one."""
        if value is not None:
            self.sum += value
            self.count += 1

    @property
    def value(self) -> float | None:
        """None of nothing."""
        return self.sum / self.count if self.count else None


@dataclass(slots=True)
class Calibration:
    """Whether a score is the chance to be right.

    By the expected calibration error in ten bins of equal width (Guo et al., On Calibration of Modern Neural Networks,
    ICML 2017).
    """

    scores: list[float] = field(default_factory=lambda: [0.0] * _BINS)
    right: list[int] = field(default_factory=lambda: [0] * _BINS)
    over: Ratios[None] = field(default_factory=Ratios)
    count: int = 0

    def note(self, score: float | None, *, right: bool) -> None:
        """Count an answer that has a score."""
        if score is not None:
            number = min(_BINS - 1, max(0, int(score * _BINS)))
            self.scores[number] += score
            self.right[number] += right
            self.count += 1
            self.over.note(None, score - right, 1)

    def error(self) -> float | None:
        """The expected calibration error; none of nothing."""
        if not self.count:
            return None
        return sum(abs(score - right) for score, right in zip(self.scores, self.right, strict=True)) / self.count

    def overconfidence(self) -> Estimate | None:
        """Mean of score less right; none of nothing."""
        return mean(self.over.sums[None])
