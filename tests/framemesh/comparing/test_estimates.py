import math

import numpy as np
import pytest
from scipy import stats

from framemesh.comparing.estimates import Sums, adjusted, difference, mcnemar, mean, p_value, share

CHANCE = np.random.default_rng(7)


def sums_of(y: np.ndarray, n: np.ndarray) -> Sums:
    """Of clusters that have so much each, out of so many."""
    found = Sums()
    for each, of in zip(y, n, strict=True):
        found.add(float(each), float(of))
    return found


def alike(clusters: int, frames: int, share_of_frames: float) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a minute that hang together: of each cluster its own share agrees, 0.5 apart from others at most."""
    own = CHANCE.beta(share_of_frames * 2, (1 - share_of_frames) * 2, clusters)
    n = CHANCE.integers(frames // 2, frames * 2, clusters)
    return CHANCE.binomial(n, own), n


def test_a_share_is_that_of_all_frames_with_wilsons_interval_of_the_effective_sample() -> None:
    y, n = alike(40, 60, 0.8)
    found = share(sums_of(y, n))
    assert found is not None
    p = y.sum() / n.sum()
    variance = 40 / 39 * ((y - p * n) ** 2).sum() / n.sum() ** 2
    effective = p * (1 - p) / variance * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 39)) ** 2
    centre = (p + 1.959964**2 / 2 / effective) / (1 + 1.959964**2 / effective)
    assert found.value == pytest.approx(p)
    assert found.effective_count == pytest.approx(effective)
    assert (found.low + found.high) / 2 == pytest.approx(centre, rel=1e-5)
    assert (found.count, found.clusters) == (n.sum(), 40)


def test_of_one_frame_in_each_cluster_the_interval_is_nearly_wilsons_own() -> None:
    hits = CHANCE.random(2000) < 0.9
    found = share(sums_of(hits, np.ones(2000)))
    wilson = stats.binomtest(int(hits.sum()), 2000).proportion_ci(method="wilson")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=2e-4)


def test_intervals_hold_the_true_share_where_those_of_independent_frames_do_not() -> None:
    held = naive = 0
    for _ in range(400):
        y, n = alike(30, 200, 0.85)
        found = share(sums_of(y, n))
        assert found is not None
        held += found.low <= 0.85 <= found.high
        of_independent = stats.binomtest(int(y.sum()), int(n.sum())).proportion_ci(method="wilson")
        naive += of_independent.low <= 0.85 <= of_independent.high
    assert held / 400 > 0.9
    assert naive / 400 < 0.4


def test_intervals_of_means_hold_the_true_mean() -> None:
    held = 0
    for _ in range(400):
        n = CHANCE.integers(50, 200, 25)
        found = mean(sums_of(n * CHANCE.normal(0.1, 0.3, 25), n))
        assert found is not None
        held += found.low <= 0.1 <= found.high
    assert held / 400 > 0.9


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_what_is_always_so_may_yet_be_otherwise_in_another_minute(value: float) -> None:
    few, many = (share(sums_of(np.full(count, 900 * value), np.full(count, 900.0))) for count in (5, 500))
    assert few is not None
    assert many is not None
    assert few.high - few.low > 0.4
    assert many.high - many.low < 0.01
    none_differs = mean(sums_of(np.zeros(20), np.full(20, 900.0)))
    assert none_differs is not None
    assert 0.1 < none_differs.high < 0.3


def test_a_difference_of_shares_goes_no_further_than_all() -> None:
    always = sums_of(np.full(20, 900.0), np.full(20, 900.0))
    found, average = difference(always), mean(always)
    assert found is not None
    assert average is not None
    assert (found.low, found.high) == (average.low, 1.0)
    assert average.high > 1


def test_one_cluster_says_nothing_of_others() -> None:
    one = sums_of(np.array([50.0]), np.array([100.0]))
    found, average = share(one), mean(one)
    assert found is not None
    assert average is not None
    assert found.effective_count == 1
    assert found.high - found.low > 0.8
    assert (average.low, average.high) == (-math.inf, math.inf)
    assert p_value(one) == 1
    assert share(Sums()) is mean(Sums()) is None


def test_a_difference_is_tested_between_clusters() -> None:
    differences = CHANCE.normal(0.02, 0.05, 30)
    wanted = stats.ttest_1samp(differences, 0).pvalue
    assert p_value(sums_of(differences, np.ones(30))) == pytest.approx(wanted, rel=1e-6)
    others = CHANCE.normal(0, 0.09, 12)
    wanted = stats.ttest_ind(differences, others, equal_var=False).pvalue
    assert p_value(sums_of(differences, np.ones(30)), other=sums_of(others, np.ones(12))) == pytest.approx(wanted)
    assert p_value(sums_of(np.full(6, 3.0), np.full(6, 10.0))) == 2**-5  # as of six tosses that fall alike


def test_a_part_can_be_taken_from_the_whole() -> None:
    y, n = alike(20, 50, 0.5)
    every, part, rest = sums_of(y, n), sums_of(y[:7], n[:7]), sums_of(y[7:], n[7:])
    assert every - part == rest
    assert part + rest == every


def test_pairs_are_tested_as_mcnemar_did() -> None:
    for only_a, only_b in ((10, 2), (0, 5), (7, 7), (1, 0)):
        assert mcnemar(only_a, only_b) == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)
    assert mcnemar(0, 0) == 1


def test_many_tests_are_adjusted_for_their_number() -> None:
    chances = CHANCE.random(25) ** 3
    assert adjusted(list(chances)) == pytest.approx(stats.false_discovery_control(chances, method="by"))
    assert adjusted([]) == []
