import numpy as np
import pytest

from framemesh.errors import InvalidRequestError
from model_server.classification import ScoredLabel, best, label_count, scores

LOGITS = np.array([[1.0, 3.0, 2.0], [-1000.0, 0.0, 1000.0]], np.float32)


def test_softmax_scores_sum_to_one_however_large_the_logits() -> None:
    got = scores(LOGITS, "softmax")
    np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(got[1], [0.0, 0.0, 1.0])


def test_sigmoid_scores_stand_each_for_itself_however_large_the_logits() -> None:
    np.testing.assert_allclose(scores(LOGITS, "sigmoid")[1], [0.0, 0.5, 1.0])


def test_a_regression_models_outputs_are_its_scores() -> None:
    np.testing.assert_array_equal(scores(LOGITS, "none"), LOGITS)


def test_the_best_come_first_and_equal_ones_in_their_order() -> None:
    got = best(np.array([0.2, 0.3, 0.2, 0.3], np.float32), ("a", "b", "c", "d"), 3)
    assert [(label.index, label.name) for label in got] == [(1, "b"), (3, "d"), (0, "a")]
    assert got[0] == ScoredLabel(1, "b", float(np.float32(0.3)))


def test_more_are_asked_for_than_there_are() -> None:
    assert len(best(np.array([0.5, 0.5], np.float32), ("a", "b"), 5)) == 2


@pytest.mark.parametrize(("asked", "count"), [(0, 5), (1, 1), (1000, 1000)])
def test_zero_asks_for_five(asked: int, count: int) -> None:
    assert label_count(asked) == count


@pytest.mark.parametrize("asked", [-1, 1001])
def test_other_counts_are_refused(asked: int) -> None:
    with pytest.raises(InvalidRequestError, match=str(asked)):
        label_count(asked)
