from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    OneFormerConfig,
    SwinConfig,
    pipeline,
)

from framemesh.errors import ConfigurationError, InvalidRequestError
from framemesh.v1.answer_pb2 import Answer, AnswerOptions, SegmentationKind
from model_server.agreement import agreement
from model_server.exact import load_processor
from model_server.geometry import Size, View
from model_server.inference import Inferred, Job, Model
from model_server.networks import open_network
from model_server.tasks import Asked, Segmentation
from model_server.tasks.segmentation import Queries
from model_server.trust import Trust
from tests.model_server.conftest import ParityRow
from tests.model_server.servers import encoded

SEMANTIC = SegmentationKind.SEGMENTATION_KIND_SEMANTIC
INSTANCE = SegmentationKind.SEGMENTATION_KIND_INSTANCE
PANOPTIC = SegmentationKind.SEGMENTATION_KIND_PANOPTIC
NAMES = ("cat", "dog")
BY_CLASS = Segmentation(NAMES, None)
BY_QUERIES = Segmentation(NAMES, Queries(None, overlapping=True))
FRAME = Size(4, 2)
LEFT, RIGHT, ALL = np.array([[9, 9, -9, -9]] * 2), np.array([[-9, -9, 9, 9]] * 2), np.full((2, 4), 9)


@dataclass(frozen=True, slots=True)
class Found:
    label: str
    score: float
    mask: np.ndarray


def asked(frame: Size, **options: Any) -> Asked:
    return Asked(View(frame, frame, frame), AnswerOptions(**options))


def segments(answer: Answer) -> list[Found]:
    return [
        Found(one.label.name, one.label.score, np.asarray(Image.open(BytesIO(one.mask.png))))
        for one in answer.segmentation.segments
    ]


def by_class(scores: Any, frame: Size = FRAME, **options: Any) -> list[Found]:
    outputs = {"logits": np.asarray(scores, np.float32)[None]}
    return segments(BY_CLASS.answer(outputs, asked(frame, **options)))


def answer_by_queries(shares: list[list[float]], masks: Any, frame: Size = FRAME, **options: Any) -> Answer:
    with np.errstate(divide="ignore"):
        logits = np.log(np.array([[*row, 1 - sum(row)] for row in shares], np.float32))
    outputs = {"class_logits": logits[None], "mask_logits": np.asarray(masks, np.float32)[None]}
    return BY_QUERIES.answer(outputs, asked(frame, **options))


def by_queries(shares: list[list[float]], masks: Any, frame: Size = FRAME, **options: Any) -> list[Found]:
    return segments(answer_by_queries(shares, masks, frame, **options))


def test_each_class_present_is_one_segment_of_score_1() -> None:
    first, second = by_class([LEFT, RIGHT])
    assert (first.label, first.score, second.label, second.score) == ("cat", 1, "dog", 1)
    np.testing.assert_array_equal(first.mask, LEFT > 0)
    np.testing.assert_array_equal(second.mask, RIGHT > 0)
    assert [one.label for one in by_class([RIGHT * 0 - 9, LEFT * 0 + 1], min_score=1)] == ["dog"]


def test_masks_are_as_large_as_the_frame_down_to_one_pixel() -> None:
    for frame in (Size(1, 1), Size(33, 7)):
        for one in (*by_class([LEFT, RIGHT], frame), *by_queries([[0.99, 0]], [ALL], frame)):
            assert one.mask.shape == (frame.height, frame.width)


def test_panoptic_segments_dont_overlap_and_come_in_the_queries_order() -> None:
    found = by_queries([[0.92, 0], [0, 0.99], [0.5, 0]], [LEFT, RIGHT, ALL])
    assert [one.label for one in found] == ["cat", "dog"]
    assert [one.score for one in found] == pytest.approx([0.92, 0.99])
    np.testing.assert_array_equal(found[0].mask, LEFT > 0)
    np.testing.assert_array_equal(found[1].mask, RIGHT > 0)


def test_a_panoptic_segment_that_others_cover_by_half_is_left_out() -> None:
    found = by_queries([[0.92, 0], [0, 0.99]], [ALL, RIGHT])
    assert [one.label for one in found] == ["dog"]


def test_instances_may_overlap_and_come_best_first() -> None:
    found = by_queries([[0.92, 0], [0, 0.99]], [ALL, RIGHT], segmentation_kind=INSTANCE)
    assert [one.label for one in found] == ["dog", "cat"]
    assert [int(one.mask.sum()) for one in found] == [4, 8]


def test_the_least_score_can_be_chosen() -> None:
    for kind in (PANOPTIC, INSTANCE):
        assert by_queries([[0.6, 0]], [ALL], segmentation_kind=kind) == []
        assert len(by_queries([[0.6, 0]], [ALL], segmentation_kind=kind, min_score=0.5)) == 1


def test_nothing_but_none_is_an_empty_answer() -> None:
    for kind in (PANOPTIC, INSTANCE):
        assert by_queries([[0.01, 0.01]], [ALL], segmentation_kind=kind, min_score=0.5) == []
        assert by_queries([[0.99, 0]], [-ALL], segmentation_kind=kind) == []


def test_outputs_that_are_no_numbers_hold_no_objects() -> None:
    for kind in (PANOPTIC, INSTANCE):
        assert by_queries([[np.nan, np.nan]], [ALL], segmentation_kind=kind) == []
        assert by_queries([[0.99, 0]], [ALL * np.nan], segmentation_kind=kind) == []
    assert [one.label for one in by_class([LEFT, RIGHT * np.nan])] == ["dog"]  # as torch has it


def test_a_model_by_class_refuses_to_tell_objects_apart() -> None:
    for kind in (PANOPTIC, INSTANCE):
        with pytest.raises(InvalidRequestError, match="use SEGMENTATION_KIND_SEMANTIC"):
            by_class([LEFT, RIGHT], segmentation_kind=kind)
    with pytest.raises(InvalidRequestError, match="segmentation_kind 9"):
        by_queries([[1, 0]], [ALL], segmentation_kind=9)


def test_agreement_is_the_share_of_pixels_of_the_same_class() -> None:
    ours = answer_by_queries([[0.92, 0], [0, 0.99]], [LEFT, RIGHT])
    quarter = LEFT.copy()
    quarter[0, 1] = -9
    theirs = answer_by_queries([[0.95, 0], [0, 0.98]], [quarter, RIGHT])
    found = agreement(ours, theirs)
    assert found.share == pytest.approx(7 / 8)
    assert found.difference == pytest.approx(0.03, abs=1e-3)
    empty = answer_by_queries([[0, 0]], [LEFT])
    assert agreement(empty, empty).share == 1
    assert agreement(ours, empty).share == 0


def test_a_model_that_wants_its_task_in_words_is_refused_by_name(tmp_path: Path) -> None:
    OneFormerConfig(backbone_config=SwinConfig(), architectures=["OneFormerForUniversalSegmentation"]).save_pretrained(
        tmp_path
    )
    with pytest.raises(ConfigurationError, match="oneformer models are not served: it wants its task in words"):
        open_network(tmp_path, "", Trust())


def pipelines_own(kind: str, source: Path) -> Any:
    auto = AutoModelForSemanticSegmentation if kind == "segformer" else AutoModelForUniversalSegmentation
    return pipeline("image-segmentation", model=auto.from_pretrained(source), image_processor=load_processor(source))


def told_apart(oracle: Any, photo: Image.Image, asked: SegmentationKind.ValueType, min_score: float) -> list[Found]:
    """What transformers finds, best first; by `return_binary_maps` where its pipeline paints objects over others."""
    if asked == INSTANCE and type(oracle.image_processor).__name__.startswith("Mask"):
        with torch.inference_mode():
            outputs = oracle.model(**oracle.image_processor(photo, return_tensors="pt"))
        (found,) = oracle.image_processor.post_process_instance_segmentation(
            outputs, threshold=min_score, target_sizes=[photo.size[::-1]], return_binary_maps=True
        )
        if not found["segments_info"]:
            return []
        names = oracle.model.config.id2label
        return [
            Found(names[one["label_id"]], one["score"], mask.numpy() == 1)
            for one, mask in zip(found["segments_info"], found["segmentation"], strict=True)
        ]
    named = {SEMANTIC: "semantic", INSTANCE: "instance", PANOPTIC: "panoptic"}
    more = {"subtask": named[asked]} if asked in named else {}
    return [
        Found(one["label"], 1.0 if one["score"] is None else one["score"], np.asarray(one["mask"]) > 0)
        for one in oracle(photo, threshold=min_score, **more)
    ]


@pytest.mark.parametrize(
    ("kind", "runtime"),
    [
        *product(("segformer", "mask2former", "detr-panoptic"), ("onnx", "torch")),
        ("maskformer", "torch"),  # its export takes minutes
    ],
)
@pytest.mark.filterwarnings("ignore:.*'mode' parameter is deprecated:DeprecationWarning")  # Pillow's, of the pipeline
def test_an_answer_is_that_of_transformers_own_pipeline(
    kind: str,
    runtime: str,
    prepared: Callable[..., Path],
    source: Callable[[str], Path],
    chelsea: Image.Image,
    parity_table: list[ParityRow],
) -> None:
    model = Model.load(prepared(kind, runtime=runtime))
    assert not model.manifest.fallback_reason
    assert model.preprocessing == "fast"
    oracle = pipelines_own(kind, source(kind))
    kinds = [SegmentationKind.SEGMENTATION_KIND_UNSPECIFIED, SEMANTIC]
    kinds += [] if kind == "segformer" else [INSTANCE, PANOPTIC]
    pixels = scores = 0.0
    counts: set[int] = set()
    labels: set[str] = set()
    for photo in (chelsea, chelsea.resize((97, 161))):
        for asked_kind in kinds:
            for min_score in (0.9, 0.4):
                options = AnswerOptions(segmentation_kind=asked_kind, min_score=min_score)
                (inferred,) = model.infer([Job(encoded(photo), options)])
                assert isinstance(inferred, Inferred)
                assert inferred.answer is not None
                ours, theirs = segments(inferred.answer), told_apart(oracle, photo, asked_kind, min_score)
                if asked_kind == INSTANCE:  # transformers leaves their order open
                    ours, theirs = (sorted(found, key=lambda one: -one.score) for found in (ours, theirs))
                assert [one.label for one in ours] == [one.label for one in theirs]
                for one, other in zip(ours, theirs, strict=True):
                    scores = max(scores, abs(one.score - other.score))
                    pixels = max(pixels, float((one.mask != other.mask).mean()))
                counts.add(len(ours))
                labels |= {one.label for one in ours}
    assert len(counts) > 1 or kind == "segformer"
    assert len(labels) > 1
    assert scores < 1e-4
    assert pixels < 1e-3
    difference = f"score {scores:.1e}, pixels {pixels:.1e}"
    parity_table.append(ParityRow("image-segmentation", kind, runtime, "pipeline", difference))
