from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForObjectDetection, pipeline

from framemesh.errors import ConfigurationError
from framemesh.v1.answer_pb2 import Answer, AnswerOptions
from framemesh.v1.answer_pb2 import Detection as DetectionAnswer
from model_server import exporting, making
from model_server.agreement import agreement
from model_server.artifacts import read_manifest
from model_server.building import Order, build
from model_server.exact import load_processor
from model_server.geometry import Size, View
from model_server.inference import Inferred, Job, Model
from model_server.networks.detection import ARCHITECTURES, detection
from model_server.tasks import Asked, Detection
from tests.model_server.conftest import ParityRow
from tests.model_server.servers import encoded
from tests.model_server.tasks.detections import best_threshold, greatest_differences

LABELS = ("a", "b")
FRAME = Size(200, 100)
CENTRE = [0.5, 0.5, 0.2, 0.4]


def answer(task: Detection, logits: list[list[float]], boxes: list[list[float]], **options: Any) -> Answer:
    outputs = {"logits": np.array([logits], np.float32), "boxes": np.array([boxes], np.float32)}
    return task.answer(outputs, Asked(View(FRAME, FRAME, FRAME), AnswerOptions(**options)))


def box(answer: Answer, number: int = 0) -> tuple[float, ...]:
    found = answer.detection.objects[number].box
    return (found.x_min_px, found.y_min_px, found.x_max_px, found.y_max_px)


def labels(answer: Answer) -> list[tuple[int, str]]:
    return [(one.label.index, one.label.name) for one in answer.detection.objects]


SOFTMAX = Detection(LABELS, "softmax")
SIGMOID = Detection(LABELS, "sigmoid")


def test_a_box_is_in_pixels_of_the_frame() -> None:
    assert box(answer(SOFTMAX, [[9, 0, 0]], [CENTRE])) == pytest.approx((80, 30, 120, 70))


def test_the_last_class_of_a_softmax_is_no_object() -> None:
    found = answer(SOFTMAX, [[0, 0, 9], [0, 4, 0]], [CENTRE, CENTRE])
    assert labels(found) == [(1, "b")]
    assert found.detection.objects[0].label.score == pytest.approx(np.exp(4) / (np.exp(4) + 2))


def test_one_query_may_stand_for_objects_of_several_classes_where_each_has_its_own_score() -> None:
    found = answer(Detection(LABELS, "sigmoid", limit=3), [[1, 2], [-9, 3]], [CENTRE, [0.1, 0.1, 0.1, 0.1]])
    assert labels(found) == [(1, "b"), (1, "b"), (0, "a")]
    assert [one.label.score for one in found.detection.objects] == pytest.approx([0.952574, 0.880797, 0.731059])
    assert box(found, 1) == box(found, 2) != box(found, 0)


def test_no_more_pairs_are_looked_at_than_there_are_queries_or_than_the_limit_says() -> None:
    logits, boxes = [[1.0, 2.0], [3.0, 4.0]], [CENTRE, CENTRE]
    assert labels(answer(SIGMOID, logits, boxes)) == [(1, "b"), (0, "a")]
    assert len(answer(Detection(LABELS, "sigmoid", limit=3), logits, boxes).detection.objects) == 3
    assert len(answer(Detection(LABELS, "sigmoid", limit=100), logits, boxes).detection.objects) == 4


def test_half_sure_is_sure_enough_unless_asked_otherwise() -> None:
    logits, boxes = [[0.0, -0.1], [-9.0, -2.0]], [CENTRE, CENTRE]
    assert labels(answer(SIGMOID, logits, boxes)) == [(0, "a")]
    assert labels(answer(SIGMOID, logits, boxes, min_score=0.4)) == [(0, "a"), (1, "b")]
    assert not labels(answer(SIGMOID, logits, boxes, min_score=1))


def test_a_box_is_cut_to_the_frame_and_left_out_where_nothing_remains() -> None:
    outside, upside_down = [1.5, 0.5, 0.2, 0.2], [0.5, 0.5, -0.2, 0.2]
    found = answer(SIGMOID, [[5, 9], [9, 9], [9, 9]], [[0.0, 1.0, 0.5, 0.5], outside, upside_down], min_score=0)
    assert {box(found, number) for number in range(len(found.detection.objects))} <= {(0, 75, 50, 100)}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("task", [SOFTMAX, SIGMOID])
def test_what_is_not_a_number_costs_only_its_own_object(task: Detection, bad: float) -> None:
    good = [9.0, -9.0, -9.0] if task is SOFTMAX else [9.0, -9.0]
    for number in range(4):
        broken = [*CENTRE[:number], bad, *CENTRE[number + 1 :]]
        assert labels(answer(task, [good, good], [broken, CENTRE])) == [(0, "a")]
    found = answer(task, [[bad] * len(good), good], [CENTRE, [0.1, 0.1, 0.1, 0.1]])
    assert (0, "a") in labels(found)
    assert all(np.isfinite(one.label.score) for one in found.detection.objects)
    assert not labels(answer(task, [[np.nan] * len(good)], [CENTRE], min_score=0))


def test_extreme_boxes_are_cut_to_the_frame() -> None:
    assert box(answer(SIGMOID, [[9, -9]], [[0.5, 0.5, 3e38, 3e38]])) == (0, 0, 200, 100)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_detector_of_transformers_has_its_own_rule_or_is_refused_by_name(name: str) -> None:
    import transformers

    config = getattr(transformers, name).config_class
    made = SimpleNamespace(model_type=config.model_type, num_labels=2, id2label={0: "a", 1: "b"})
    if name.startswith("PP"):  # they read documents: their order, polygons and text boxes are other answers
        with pytest.raises(ConfigurationError, match=f"{config.model_type} are not served; served are "):
            detection(made)
    else:
        assert detection(made).labels == LABELS


def test_objects_agree_where_they_overlap_by_half_and_are_of_one_class() -> None:
    one = answer(SIGMOID, [[2, -9], [1, -9]], [CENTRE, [0.1, 0.1, 0.1, 0.1]])
    same = answer(SIGMOID, [[3, -9], [1, -9]], [[0.52, 0.5, 0.2, 0.4], [0.1, 0.1, 0.1, 0.1]])
    found = agreement(one, same)
    assert found.share == 1
    assert found.difference == pytest.approx(0.952574 - 0.880797, abs=1e-5)
    elsewhere = answer(SIGMOID, [[2, -9], [-9, 1]], [[0.7, 0.5, 0.2, 0.4], [0.1, 0.1, 0.1, 0.1]])
    assert agreement(one, elsewhere).share == 0
    half = answer(SIGMOID, [[2, -9]], [CENTRE])
    assert agreement(one, half).share == agreement(half, one).share == 0.5
    nothing = Answer(detection=DetectionAnswer())
    assert agreement(nothing, nothing).share == 1
    assert agreement(one, nothing).share == agreement(nothing, one).share == 0


@pytest.mark.parametrize(
    ("kind", "runtime"),
    [
        ("detr", "onnx"),
        ("yolos", "onnx"),
        ("rt_detr", "onnx"),
        ("detr", "torch"),
        ("yolos", "torch"),
        ("rt_detr", "torch"),
        ("d_fine", "torch"),
        ("conditional_detr", "torch"),
        ("deformable_detr", "torch"),
    ],
)
def test_an_answer_is_that_of_transformers_own_post_processing(
    kind: str,
    runtime: str,
    prepared: Callable[..., Path],
    source: Callable[[str], Path],
    wide_and_tall: list[Image.Image],
    parity_table: list[ParityRow],
) -> None:
    model = Model.load(prepared(kind, runtime=runtime), preprocessing="exact")
    assert not model.manifest.fallback_reason
    network = AutoModelForObjectDetection.from_pretrained(source(kind)).eval()
    processor = load_processor(source(kind))
    score, pixels = 0.0, 0.0
    for photo in wide_and_tall:
        with torch.no_grad():
            outputs = network(**processor(images=photo, return_tensors="pt"))

        def theirs(threshold: float, outputs: Any = outputs, photo: Image.Image = photo) -> dict[str, Any]:
            sizes = [(photo.height, photo.width)]
            (found,) = processor.post_process_object_detection(outputs, threshold, target_sizes=sizes)
            return dict(found)

        threshold = best_threshold(theirs(0.0)["scores"])
        (inferred,) = model.infer([Job(encoded(photo), AnswerOptions(min_score=threshold))])
        assert isinstance(inferred, Inferred)
        assert inferred.answer is not None
        by_score, by_box = greatest_differences(inferred.answer, theirs(threshold), photo)
        score, pixels = max(score, by_score), max(pixels, by_box)
    assert score < 1e-4
    assert pixels < 0.05
    parity_table.append(
        ParityRow("object-detection", kind, runtime, "post-processing", f"score {score:.1e}, box {pixels:.1e} px")
    )


def test_the_default_is_that_of_transformers_own_pipeline(
    prepared: Callable[..., Path], source: Callable[[str], Path], chelsea: Image.Image
) -> None:
    model = Model.load(prepared("yolos", runtime="torch"), preprocessing="exact")
    network = AutoModelForObjectDetection.from_pretrained(source("yolos"))
    oracle = pipeline("object-detection", model=network, image_processor=load_processor(source("yolos")))
    (inferred,) = model.infer([Job(encoded(chelsea))])
    assert isinstance(inferred, Inferred)
    assert inferred.answer is not None
    ours = inferred.answer.detection.objects
    theirs = sorted(oracle(chelsea), key=lambda one: -one["score"])
    assert len(ours) > 1
    assert [one.label.name for one in ours] == [one["label"] for one in theirs]
    assert [one.label.score for one in ours] == pytest.approx([one["score"] for one in theirs], abs=1e-5)


def test_photos_of_several_sizes_are_answered_together_as_alone(
    prepared: Callable[..., Path], wide_and_tall: list[Image.Image]
) -> None:
    model = Model.load(prepared("detr"))
    options = AnswerOptions(min_score=0.2)
    jobs = [Job(encoded(photo), options) for photo in (*wide_and_tall, *wide_and_tall)]
    for together, job in zip(model.infer(jobs), jobs, strict=True):
        (alone,) = model.infer([job])
        assert isinstance(together, Inferred)
        assert isinstance(alone, Inferred)
        assert together.answer is not None
        assert alone.answer is not None
        assert together.answer.detection.objects
        found = agreement(together.answer, alone.answer)
        assert found.share == 1
        assert found.difference < 1e-4


def test_a_detector_whose_graph_does_not_run_is_left_to_torch_and_says_why(
    source: Callable[[str], Path], small_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("85 by 128")  # as Deformable DETR's graph ends on an image of another size

    monkeypatch.setattr(exporting, "export", lambda *_, **__: None)
    monkeypatch.setattr(making, "OnnxRuntime", broken)
    manifest = read_manifest(build(Order(str(source("deformable_detr")), tmp_path, samples=small_photos)))
    assert manifest.runtime == "torch"
    assert manifest.fallback_reason == "onnx was asked for, but ONNX Runtime can't run the exported graph: 85 by 128"
