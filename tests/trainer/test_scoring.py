import numpy as np
import pytest

from trainer.scoring import Boxes, classification, detection, mean_average_precision, wilson


def boxes(*found: tuple[float, float, float, float, int, float]) -> Boxes:
    """Boxes as left, top, right, bottom, class and score."""
    rows = np.array(found, float).reshape(-1, 6)
    return Boxes(rows[:, :4], rows[:, 4].astype(np.int64), rows[:, 5])


def test_an_interval_holds_for_few_and_for_all_or_none() -> None:
    # Of Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    for successes, trials, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        found = wilson(successes, trials)
        assert [found.low, found.high] == pytest.approx([low, high], abs=5e-5)
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


def test_classes_are_scored_by_what_they_are_called() -> None:
    found = classification([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 1], ["a", "b", "c"])
    assert found.overall.value == pytest.approx(4 / 6)
    assert [(each.count, each.precision, each.recall) for each in found.classes] == [
        (3, 1.0, pytest.approx(2 / 3)),
        (2, 0.5, 1.0),
        (1, None, 0.0),
    ]


def test_a_box_is_found_once_by_the_surest_that_covers_half_of_it() -> None:
    truth = [boxes((0, 0, 10, 10, 0, 1), (20, 20, 30, 30, 0, 1)), boxes((0, 0, 10, 10, 1, 1))]
    found = [
        boxes((0, 0, 10, 11, 0, 0.9), (0, 0, 9, 10, 0, 0.8), (20, 20, 30, 24, 0, 0.7)),
        boxes((0, 0, 10, 10, 1, 0.6), (50, 50, 60, 60, 1, 0.9)),
    ]
    scores = detection(truth, found, ["a", "b"], seed=0)
    # Of class a: a hit, a double, a miss; of b a false one before the hit.
    assert [each.average_precision for each in scores.classes] == [0.5, 0.5]
    assert [(each.precision, each.recall) for each in scores.classes] == [(pytest.approx(1 / 3), 0.5), (0.5, 1.0)]
    assert scores.overall.value == 0.5
    assert scores.overall.low <= 0.5 <= scores.overall.high


def test_all_found_is_one_and_nothing_found_is_zero() -> None:
    truth = [boxes((0, 0, 10, 10, 0, 1)), boxes()]
    assert mean_average_precision(truth, [boxes((0, 0, 10, 10, 0, 0.2)), boxes()], 2) == 1.0
    assert mean_average_precision(truth, [boxes(), boxes()], 2) == 0.0
