from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from framemesh.comparing.answers import Said, in_words, name_of, task_of
from framemesh.comparing.boxes import iou, matched
from framemesh.comparing.comparison import Task
from framemesh.comparing.judging import Judgement, judge_of
from framemesh.errors import InvalidRequestError
from framemesh.v1.answer_pb2 import (
    Answer,
    Depth,
    Keypoint,
    KeypointInstance,
    Keypoints,
    Label,
    Mask,
    Segment,
    Segmentation,
)

Edges = tuple[float, float, float, float]


def seen(name: str, score: float, edges: Edges | None = None) -> dict[str, object]:
    keys = ("x_min_px", "y_min_px", "x_max_px", "y_max_px")
    return {"name": name, "score": score, **dict(zip(keys, edges or (None,) * 4, strict=True))}


def said(*labels: dict[str, object], **others: object) -> Said:
    best = max(labels, key=lambda label: label["score"], default=None)  # type: ignore[arg-type, return-value]
    values = {"text": None, "embedding": None, "answer": None, **others}
    return Said(best and best["name"], best and best["score"], labels, **values)  # type: ignore[arg-type]


def whole(answer: Answer) -> Said:
    return said(answer=answer.SerializeToString())


def png(pixels: np.ndarray, mode: str | None = None) -> bytes:
    out = BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(out, "PNG")
    return out.getvalue()


def judged(task: Task, a: Said, b: Said, min_score: float = 0.0) -> Judgement:
    return judge_of(task, min_score=min_score).judge(a, b)


def test_classes_are_one_whatever_case_and_underscores_their_names_have() -> None:
    assert name_of("Egyptian_Cat") == name_of(" egyptian  cat ")
    one, other = said(seen("Egyptian_Cat", 0.9), seen("dog", 0.1)), said(seen("egyptian cat", 0.4), seen("fox", 0.3))
    found = judged(Task.CLASSIFICATION, one, other)
    assert found.agrees
    assert found.parts["score difference"] == pytest.approx((0.5, 1))


def test_classes_that_differ_are_confused_and_may_be_among_the_others_best() -> None:
    one, other = said(seen("cat", 0.9), seen("dog", 0.1)), said(seen("dog", 0.6), seen("fox", 0.3))
    found = judged(Task.CLASSIFICATION, one, other)
    assert not found.agrees
    assert [(named.a, named.b) for named in found.named] == [("cat", "dog")]
    assert found.parts == {"in the best": (0.5, 1)}
    assert found.surprise == 0.6  # as sure as the less sure of both


def test_boxes_overlap_by_their_iou() -> None:
    assert iou(seen("", 1, (0, 0, 10, 10)), seen("", 1, (5, 0, 15, 10))) == pytest.approx(1 / 3)
    assert iou(seen("", 1, (0, 0, 10, 10)), seen("", 1, (10, 0, 20, 10))) == 0
    assert iou(seen("", 1, (3, 3, 3, 3)), seen("", 1, (3, 3, 3, 3))) == 0


def test_the_surest_object_has_the_first_choice_and_its_own_class_comes_first() -> None:
    a = [seen("car", 0.5, (1, 0, 11, 10)), seen("car", 0.9, (0, 0, 10, 10)), seen("cat", 0.8, (40, 40, 50, 50))]
    b = [seen("car", 0.7, (0, 0, 10, 10)), seen("dog", 0.6, (40, 40, 50, 50)), seen("bus", 0.2, (80, 0, 90, 9))]
    pairs = matched(a, b)
    assert [(pair.a, pair.b, pair.same) for pair in pairs] == [
        (1, 0, True),
        (2, 1, False),
        (0, None, False),
        (None, 2, False),
    ]


def test_a_detection_is_measured_by_precision_recall_and_overlap() -> None:
    a = said(seen("car", 0.9, (0, 0, 10, 10)), seen("cat", 0.8, (40, 40, 50, 50)), seen("bus", 0.1, (0, 0, 99, 99)))
    b = said(seen("car", 0.7, (0, 0, 10, 8)), seen("dog", 0.6, (40, 40, 50, 50)), seen("car", 0.6, (70, 70, 80, 80)))
    found = judged(Task.DETECTION, a, b, min_score=0.5)
    assert not found.agrees
    assert found.parts == {"precision": (1, 2), "recall": (1, 3), "overlap": (pytest.approx(0.8), 1)}
    assert sorted((named.a, named.b) for named in found.named) == [("", "car"), ("car", "car"), ("cat", "dog")]
    assert found.likeness == pytest.approx(1 / 3)
    assert found.surprise == pytest.approx(0.8 + 0.6)


def test_that_neither_sees_anything_is_agreement() -> None:
    for task in (Task.DETECTION, Task.CLASSIFICATION):
        found = judged(task, said(), said())
        assert found.agrees
        assert not found.named


def segments(*parts: tuple[str, np.ndarray]) -> Said:
    found = [Segment(label=Label(name=name), mask=Mask(png=png(mask * np.uint8(255), "1"))) for name, mask in parts]
    return whole(Answer(segmentation=Segmentation(segments=found)))


def test_segmentations_are_compared_by_pixel_and_class() -> None:
    left, right = np.zeros((10, 20), bool), np.zeros((10, 20), bool)
    left[:, :10] = right[:, 10:] = True
    wide = np.zeros((10, 20), bool)
    wide[:, :15] = True
    found = judged(Task.SEGMENTATION, segments(("sky", left), ("sea", right)), segments(("Sky", wide), ("sea", ~wide)))
    assert found.parts["pixels"] == pytest.approx((0.75, 1))
    assert found.parts["mean IoU"] == pytest.approx(((10 / 15 + 5 / 10) / 2, 1))
    assert not found.agrees
    two = segments(("sky", left), ("sky", right))
    assert judged(Task.SEGMENTATION, two, segments(("sky", left | right))).agrees  # of which one is not asked
    assert judged(Task.SEGMENTATION, two, segments()).likeness == 0
    assert judged(Task.SEGMENTATION, segments(), segments()).agrees


def depth(values: np.ndarray, low: float, high: float) -> Said:
    return whole(Answer(depth=Depth(png=png((values * 65535).astype(np.uint16)), minimum=low, maximum=high)))


def test_depths_are_alike_whatever_their_scale_and_offset() -> None:
    slope = np.linspace(0, 1, 48 * 64).reshape(48, 64)
    metres, relative = depth(slope, 2, 12), depth(slope, -1, 1)
    assert judged(Task.DEPTH, metres, relative).likeness == pytest.approx(1)
    inverse = judged(Task.DEPTH, metres, depth(1 - slope, 0, 1))
    assert inverse.parts["correlation"] == pytest.approx((-1, 1))
    assert (inverse.agrees, inverse.likeness) == (False, 0)
    noise = np.random.default_rng(1).random((48, 64))
    wanted = np.corrcoef(slope.ravel(), (noise * 65535).astype(np.uint16).ravel())[0, 1]
    assert judged(Task.DEPTH, metres, depth(noise, 0, 1)).parts["correlation"][0] == pytest.approx(wanted, abs=1e-6)
    level = depth(np.zeros((48, 64)), 3, 3)
    assert judged(Task.DEPTH, level, level).agrees
    assert not judged(Task.DEPTH, level, metres).agrees


def test_vectors_are_compared_by_angle_and_those_of_other_spaces_are_refused() -> None:
    assert judged(Task.EMBEDDING, said(embedding=[3, 4]), said(embedding=[6, 8])).likeness == pytest.approx(1)
    assert judged(Task.EMBEDDING, said(embedding=[1, 0]), said(embedding=[0, 1])).parts["cosine"] == (0, 1)
    assert judged(Task.EMBEDDING, said(embedding=[0, 0]), said(embedding=[0, 0])).agrees
    with pytest.raises(InvalidRequestError, match="2 values and B's 3"):
        judged(Task.EMBEDDING, said(embedding=[1, 2]), said(embedding=[1, 2, 3]))


def test_texts_agree_word_by_word() -> None:
    found = judged(Task.TEXT, said(text="a cat on a mat"), said(text="A cat sat on the mat"))
    assert not found.agrees
    assert found.likeness == pytest.approx(2 * 4 / 11)
    assert judged(Task.TEXT, said(text="A  cat"), said(text="a cat")).agrees
    assert judged(Task.TEXT, said(text=""), said(text="")).agrees


def points(*places: tuple[str, float, float]) -> Said:
    found = [Keypoint(label=Label(name=name), x_px=x, y_px=y) for name, x, y in places]
    return whole(Answer(keypoints=Keypoints(instances=[KeypointInstance(points=found)])))


def test_points_are_the_same_where_one_of_their_name_is_near() -> None:
    one = points(("nose", 300, 400), ("ear", 100, 100))
    assert judged(Task.KEYPOINTS, one, points(("nose", 303, 400), ("ear", 100, 104))).agrees
    assert judged(Task.KEYPOINTS, one, points(("ear", 300, 400), ("nose", 100, 100))).likeness == 0
    assert judged(Task.KEYPOINTS, one, points(("nose", 300, 400))).likeness == pytest.approx(2 / 3)
    assert judged(Task.KEYPOINTS, points(), points()).agrees


def test_an_answer_tells_its_task_and_itself() -> None:
    told = {
        Task.TEXT: (said(text="a  cat\n"), "a cat"),
        Task.EMBEDDING: (said(embedding=[1.0, 2.0]), "2 values"),
        Task.CLASSIFICATION: (said(seen("cat", 0.9), seen("dog", 0.1)), "cat"),
        Task.DETECTION: (said(seen("car", 0.9, (0, 0, 1, 1)), seen("car", 0.8, (2, 2, 3, 3))), "2 car"),
        Task.DEPTH: (depth(np.zeros((2, 2)), 1, 5), "1 to 5"),
        Task.KEYPOINTS: (points(("nose", 1, 1), ("ear", 2, 2)), "2 points of 1"),
    }
    for task, (answer, words) in told.items():
        assert (task_of(answer), in_words(answer, task)) == (task, words)
    assert task_of(said()) is None
    assert in_words(said(text="word " * 100), Task.TEXT).endswith("...")
