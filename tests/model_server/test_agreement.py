import pytest

from framemesh.v1.answer_pb2 import Answer, Embedding, Keypoint, KeypointInstance, Keypoints, Label, Text
from model_server.agreement import Agreement, agreement


def pose(*points: tuple[int, float, float, float]) -> Answer:
    """One person's points: kind, x, y, score."""
    found = [Keypoint(label=Label(index=kind, score=score), x_px=x, y_px=y) for kind, x, y, score in points]
    return Answer(keypoints=Keypoints(instances=[KeypointInstance(points=found)]))


def test_points_agree_with_those_of_their_kind_that_are_near() -> None:
    wanted = pose((0, 300, 400, 0.5), (1, 100, 100, 0.75), (2, 10, 10, 0.25))
    assert agreement(wanted, wanted) == Agreement(1.0, 0.0)
    found = agreement(pose((0, 303, 403, 0.25), (1, 110, 100, 0.75), (3, 10, 10, 0.25)), wanted)
    assert found.share == pytest.approx(1 / 3)
    assert found.difference == 0.25
    assert agreement(pose(), wanted).share == 0
    assert agreement(pose(), pose()) == Agreement(1.0, 0.0)


def test_texts_agree_or_do_not() -> None:
    cats = Answer(text=Text(text="two cats"))
    assert agreement(cats, cats) == Agreement(1.0, 0.0)
    assert agreement(cats, Answer(text=Text(text="two dogs"))) == Agreement(0.0, 1.0)


def test_answers_of_two_kinds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="text and embedding can't be compared"):
        agreement(Answer(text=Text()), Answer(embedding=Embedding()))
