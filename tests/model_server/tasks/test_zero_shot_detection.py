from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForZeroShotObjectDetection, AutoTokenizer, pipeline

from framemesh.errors import ConfigurationError, InvalidRequestError
from framemesh.v1.answer_pb2 import Answer, AnswerOptions
from model_server.exact import load_processor
from model_server.geometry import Size, View
from model_server.inference import Inferred, Job, Model
from model_server.networks import zero_shot_detection
from model_server.tasks import Asked, ZeroShotDetection
from model_server.trust import Trust
from tests.model_server.conftest import ParityRow
from tests.model_server.servers import encoded
from tests.model_server.tasks.detections import best_threshold, greatest_differences

FRAME = Size(200, 100)
CENTRE = [0.5, 0.5, 0.2, 0.4]
LABELS = ["a cat", "cup", "a photo of a dog", "red car", "people"]


class Directions:
    """Words as the axes of the feature space."""

    def embed(self, labels: Sequence[str]) -> np.ndarray:
        return np.eye(len(labels), 2, dtype=np.float32)

    def decode(self, tokens: Sequence[int]) -> str:
        raise NotImplementedError


def answer(
    embeddings: list[list[float]], *, shift: float = 0, factor: float = 1, padded: bool = False, **options: Any
) -> Answer:
    count = len(embeddings)
    outputs = {
        "embeddings": np.array([embeddings], np.float32),
        "shifts": np.full((1, count, 1), shift, np.float32),
        "factors": np.full((1, count, 1), factor, np.float32),
        "boxes": np.array([[CENTRE] * count], np.float32),
    }
    asked = Asked(View(FRAME, FRAME, FRAME), AnswerOptions(**options), ("a cat", "a dog"), Directions())
    return ZeroShotDetection(16, padded).answer(outputs, asked)


def test_each_patch_is_named_by_the_label_that_fits_it_best() -> None:
    objects = answer([[0.2, 0.9], [1, 0]], shift=-1, factor=2).detection.objects
    assert [(one.label.index, one.label.name) for one in objects] == [(0, "a cat"), (1, "a dog")]
    assert [one.label.score for one in objects] == pytest.approx([0.5, 1 / (1 + np.exp(0.2))])


def test_a_tenth_sure_is_sure_enough_unless_asked_otherwise() -> None:
    assert len(answer([[-2.19, -9], [-2.2, -9]]).detection.objects) == 1
    assert len(answer([[-2.19, -9], [-2.2, -9]], min_score=0.05).detection.objects) == 2


def test_boxes_of_a_padded_frame_are_shares_of_the_square() -> None:
    (found,) = answer([[1, 0]], padded=True).detection.objects
    box = (found.box.x_min_px, found.box.y_min_px, found.box.x_max_px, found.box.y_max_px)
    assert box == pytest.approx((80, 60, 120, 100))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_costs_only_its_own_patch(bad: float) -> None:
    objects = answer([[bad, bad], [1, 0]]).detection.objects
    assert "a cat" in {one.label.name for one in objects}
    assert all(np.isfinite(one.label.score) for one in objects)


def test_without_a_label_there_is_nothing_to_look_for() -> None:
    asked = Asked(View(FRAME, FRAME, FRAME), AnswerOptions(), (), Directions())
    with pytest.raises(InvalidRequestError, match="send candidate_labels, or set labels in the model's spec"):
        ZeroShotDetection(16, padded=False).answer({}, asked)


@pytest.mark.parametrize("kind", ["grounding-dino", "mm-grounding-dino", "omdet-turbo"])
def test_models_that_read_image_and_words_together_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"of type {kind} are not served: .* owlvit and owlv2"):
        zero_shot_detection.load(tmp_path, SimpleNamespace(model_type=kind), Trust())


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize("kind", ["owlvit", "owlv2"])
def test_an_answer_is_that_of_transformers_own_post_processing(
    kind: str,
    runtime: str,
    prepared: Callable[..., Path],
    source: Callable[[str], Path],
    wide_and_tall: list[Image.Image],
    parity_table: list[ParityRow],
) -> None:
    folder = prepared(kind, runtime=runtime)
    model = Model.load(folder, preprocessing="exact", labels=LABELS)
    assert not model.manifest.fallback_reason
    network = AutoModelForZeroShotObjectDetection.from_pretrained(source(kind)).eval()
    processor, tokenizer = load_processor(source(kind)), AutoTokenizer.from_pretrained(source(kind))
    texts = tokenizer(LABELS, padding="max_length", return_tensors="pt")
    score, pixels = 0.0, 0.0
    for photo in wide_and_tall:
        with torch.no_grad():
            outputs = network(**texts, **processor(images=photo, return_tensors="pt"))

        def theirs(threshold: float, outputs: Any = outputs, photo: Image.Image = photo) -> dict[str, Any]:
            sizes = [(photo.height, photo.width)]
            (found,) = processor.post_process_object_detection(outputs, threshold, target_sizes=sizes)
            return dict(found)

        threshold = best_threshold(theirs(0.0)["scores"])
        assert len(theirs(0.0)["labels"].unique()) > 1
        (inferred,) = model.infer([Job(encoded(photo), AnswerOptions(min_score=threshold))])
        assert isinstance(inferred, Inferred)
        assert inferred.answer is not None
        by_score, by_box = greatest_differences(inferred.answer, theirs(threshold), photo)
        score, pixels = max(score, by_score), max(pixels, by_box)
    assert score < 1e-4
    assert pixels < 0.05
    parity_table.append(
        ParityRow(
            "zero-shot-object-detection", kind, runtime, "post-processing", f"score {score:.1e}, box {pixels:.1e} px"
        )
    )


def test_asked_for_one_label_the_default_is_that_of_transformers_own_pipeline(
    prepared: Callable[..., Path], source: Callable[[str], Path], chelsea: Image.Image
) -> None:
    folder = prepared("owlvit", runtime="torch")
    model = Model.load(folder, preprocessing="exact", labels=["a dog"])
    oracle = pipeline(
        "zero-shot-object-detection",
        model=AutoModelForZeroShotObjectDetection.from_pretrained(source("owlvit")),
        image_processor=load_processor(source("owlvit")),
        tokenizer=AutoTokenizer.from_pretrained(source("owlvit")),
    )
    (inferred,) = model.infer([Job(encoded(chelsea), AnswerOptions(candidate_labels=["a cat"]))])
    assert isinstance(inferred, Inferred)
    assert inferred.answer is not None
    ours = inferred.answer.detection.objects
    theirs = oracle(chelsea, candidate_labels=["a cat"])
    assert len(ours) > 1
    assert [one.label.name for one in ours] == [one["label"] for one in theirs]
    assert [one.label.score for one in ours] == pytest.approx([one["score"] for one in theirs], abs=1e-5)


def test_a_model_without_labels_of_its_own_says_what_to_send(
    prepared: Callable[..., Path], chelsea: Image.Image
) -> None:
    model = Model.load(prepared("owlvit", runtime="torch"))
    (refused,) = model.infer([Job(encoded(chelsea))])
    assert isinstance(refused, InvalidRequestError)
    model.warm_up(1)
