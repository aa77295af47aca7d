"""Shares and means of frames that come in clusters, with intervals that say so. Pure.

Frames of one camera a thirtieth of a second apart are nearly one frame: an interval that takes them for independent is
several times too narrow. So the camera-minute is the unit of sampling, and everything is a ratio of sums over clusters,
sum(y) / sum(n), with the linearised variance of the ratio estimator (Cochran, Sampling Techniques, 1977, chapter 6):

    v = m / (m - 1) * sum((y_c - p * n_c)^2) / (sum n_c)^2        over m clusters

Means take p -+ t(m - 1) * sqrt(v). Shares, which may be near 0 or 1, take Wilson's interval of the effective sample
size p * (1 - p) / v, scaled by (z / t(m - 1))^2 (Korn and Graubard, Survey Methodology 24, 1998; with Wilson's form:
Franco, Little, Louis and Slud, Journal of Survey Statistics and Methodology 7, 2019). Where no cluster differs from
another, which would make both nothing, m clusters say as much as m frames. Only sums are kept.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy.special import bdtr, stdtr, stdtrit

from framemesh.comparing.comparison import Estimate
from framemesh.intervals import CONFIDENCE, Z, wilson

_TAIL = (1 + CONFIDENCE) / 2


@dataclass(slots=True)
class Sums:
    """What is kept of one ratio: sums over clusters of what was counted, of what it is out of, and their products."""

    clusters: int = 0
    y: float = 0.0
    n: float = 0.0
    yy: float = 0.0
    yn: float = 0.0
    nn: float = 0.0

    def add(self, y: float, n: float) -> None:
        """Take in one cluster."""
        if n:
            self.clusters += 1
            self.n += n
            self.nn += n * n
            self.y += y
            self.yy += y * y
            self.yn += y * n

    def out_of(self, whole: "Sums") -> "Sums":
        """The same counts out of another whole, which also has the clusters where there was nothing to count.

        What is counted must have been added with `n` of that whole.
        """
        return Sums(whole.clusters, self.y, whole.n, self.yy, self.yn, whole.nn)

    def __add__(self, other: "Sums") -> "Sums":
        """Both together; no cluster may be in both."""
        return Sums(
            self.clusters + other.clusters, self.y + other.y, self.n + other.n, self.yy + other.yy, self.yn + other.yn,
            self.nn + other.nn,
        )  # fmt: skip

    def __sub__(self, part: "Sums") -> "Sums":
        """All but a part, whose clusters are wholly its own."""
        return Sums(
            self.clusters - part.clusters, self.y - part.y, self.n - part.n, self.yy - part.yy, self.yn - part.yn,
            self.nn - part.nn,
        )  # fmt: skip

    @property
    def value(self) -> float:
        """The ratio."""
        return self.y / self.n

    @property
    def variance(self) -> float | None:
        """Of the ratio, between clusters; none where one cluster says nothing of others."""
        if self.clusters < 2:
            return None
        p = self.value
        squares = max(0.0, self.yy - 2 * p * self.yn + p * p * self.nn)
        if squares < 1e-12 * max(self.yy, self.nn):  # what is left of rounding
            squares = 0.0
        return self.clusters / (self.clusters - 1) * squares / self.n**2


def share(sums: Sums) -> Estimate | None:
    """A share, where each of `n` counts, or doesn't, or does in part; none of nothing."""
    if not sums.n:
        return None
    p, clusters, n = sums.value, sums.clusters, sums.n
    if sums.variance and 0 < p < 1:
        effective = min(n, p * (1 - p) / sums.variance * (Z / float(stdtrit(clusters - 1, _TAIL))) ** 2)
    else:
        effective = float(clusters)  # none differs from another: how many more than one frame each says isn't seen
    low, high = wilson(p, effective)
    return Estimate(p, low, high, n, effective, clusters)


def mean(sums: Sums) -> Estimate | None:
    """A mean, or any other ratio; none of nothing. Of a single cluster the interval has no ends."""
    if not sums.n:
        return None
    variance, clusters = sums.variance, sums.clusters
    if variance is None:
        reach = math.inf
    elif variance:
        reach = float(stdtrit(clusters - 1, _TAIL)) * math.sqrt(variance)
    else:
        reach = wilson(0.0, clusters)[1]
    return Estimate(sums.value, sums.value - reach, sums.value + reach, sums.n, float(clusters), clusters)


def difference(sums: Sums) -> Estimate | None:
    """A difference of two shares, paired: a mean that nothing can carry past -1 or 1; none of nothing."""
    if (found := mean(sums)) is None or math.isinf(found.low):
        return found
    return replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))


def p_value(sums: Sums, *, other: Sums | None = None) -> float:
    """How often chance alone puts a ratio as far from zero, or from another group of clusters; 1 where none can say.

    Of paired right and wrong answers this is McNemar's test for clustered pairs (Obuchowski, Statistics in Medicine 17,
    1998), with Student's t in place of the normal distribution.
    """
    groups = [sums] if other is None else [sums, other]
    if any(group.clusters < 2 for group in groups):
        return 1.0
    distance = sums.value - (other.value if other else 0.0)
    variances = [group.variance or 0.0 for group in groups]
    if distance == 0:
        return 1.0
    if not sum(variances):  # every cluster says the same: a sign test's p-value
        return 2.0 ** (1 - min(group.clusters for group in groups))
    # Welch and Satterthwaite's degrees of freedom; of one group they are its own.
    freedom = sum(variances) ** 2 / sum(v * v / (g.clusters - 1) for v, g in zip(variances, groups, strict=True))
    return 2 * float(stdtr(freedom, -abs(distance) / math.sqrt(sum(variances))))


def mcnemar(only_a: int, only_b: int) -> float:
    """McNemar's exact test of independent pairs: two-sided, of those where only one of both was right."""
    several = only_a + only_b
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), several, 0.5))) if several else 1.0


def adjusted(p_values: Sequence[float]) -> list[float]:
    """P-values of a family of tests, so that of those below 0.05 one in twenty is false (Benjamini and Yekutieli 2001).

    Classes crowd each other out, so the tests hang together in any way: Benjamini and Hochberg's own form would not do.
    """
    count = len(p_values)
    harmonic = sum(1 / rank for rank in range(1, count + 1))
    order = sorted(range(count), key=lambda each: p_values[each], reverse=True)
    found, least = [1.0] * count, 1.0
    for rank, each in zip(range(count, 0, -1), order, strict=True):
        least = min(least, p_values[each] * count * harmonic / rank)
        found[each] = least
    return found
