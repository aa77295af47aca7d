from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForImageClassification, pipeline

from framemesh.errors import InvalidRequestError
from framemesh.v1.answer_pb2 import Answer, AnswerOptions
from model_server.exact import load_processor
from model_server.geometry import Size, View
from model_server.inference import Inferred, Job, Model
from model_server.tasks import Asked, Classification
from tests.model_server.conftest import ParityRow
from tests.model_server.servers import encoded

LOGITS = np.array([[-1.0, 3.0, 0.5]], np.float32)
VIEW = View(Size(4, 4), Size(4, 4), Size(4, 4))


def answer(task: Classification, logits: np.ndarray, **options: Any) -> Answer:
    return task.answer({"logits": logits}, Asked(VIEW, AnswerOptions(**options)))


def test_the_best_classes_come_first_with_scores_that_sum_to_one() -> None:
    labels = answer(Classification(("a", "b", "c"), "softmax"), LOGITS).classification.labels
    assert [(label.index, label.name) for label in labels] == [(1, "b"), (2, "c"), (0, "a")]
    assert sum(label.score for label in labels) == pytest.approx(1)


def test_of_equal_scores_the_lower_index_comes_first() -> None:
    labels = answer(Classification(("a", "b"), "sigmoid"), np.zeros((1, 2), np.float32)).classification.labels
    assert [label.index for label in labels] == [0, 1]


def test_a_regression_model_gives_its_values() -> None:
    labels = answer(Classification(("a", "b", "c"), "none"), LOGITS, max_label_count=1).classification.labels
    assert [label.score for label in labels] == [3.0]


def test_extreme_logits_are_no_fault() -> None:
    logits = np.array([[-1e4, 1e4]], np.float32)
    for activation in ("softmax", "sigmoid"):
        labels = answer(Classification(("a", "b"), activation), logits).classification.labels
        assert [label.score for label in labels] == [1.0, 0.0]


def test_a_count_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="max_label_count can't be 1001"):
        answer(Classification(("a",), "softmax"), LOGITS[:, :1], max_label_count=1001)


EXPORTED = ("vit", "convnext", "mobilenet", "resnet", "swin", "efficientnet", "mobilevit", "beit")
ON_TORCH = ("vit", "convnext", "mobilenet", "multi-label", "regression")


@pytest.mark.parametrize(
    ("kind", "runtime"), [*((kind, "onnx") for kind in EXPORTED), *((kind, "torch") for kind in ON_TORCH)]
)
def test_an_answer_is_that_of_transformers_own_pipeline(
    kind: str,
    runtime: str,
    prepared: Callable[..., Path],
    source: Callable[[str], Path],
    chelsea: Image.Image,
    parity_table: list[ParityRow],
) -> None:
    model = Model.load(prepared(kind, runtime=runtime), preprocessing="exact")
    assert not model.manifest.fallback_reason
    oracle = pipeline(
        "image-classification",
        model=AutoModelForImageClassification.from_pretrained(source(kind)),
        image_processor=load_processor(source(kind)),
    )
    (inferred,) = model.infer([Job(encoded(chelsea))])
    assert isinstance(inferred, Inferred)
    assert inferred.answer is not None
    ours = inferred.answer.classification.labels
    theirs = oracle(chelsea, top_k=5)
    assert [label.name for label in ours] == [one["label"] for one in theirs]
    difference = max(abs(label.score - one["score"]) for label, one in zip(ours, theirs, strict=True))
    assert difference < 1e-5 * max(1.0, abs(theirs[0]["score"]))
    parity_table.append(ParityRow("image-classification", kind, runtime, "pipeline", f"score {difference:.1e}"))
