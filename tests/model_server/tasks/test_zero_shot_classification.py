from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoModelForZeroShotImageClassification, AutoTokenizer, pipeline

from framemesh.errors import ConfigurationError, InvalidRequestError
from framemesh.v1.answer_pb2 import AnswerOptions
from model_server.building import Order, build
from model_server.exact import load_processor
from model_server.geometry import Size, View
from model_server.inference import Inferred, Job, Model
from model_server.networks import open_network
from model_server.tasks import Asked, ZeroShotClassification
from model_server.trust import Trust
from tests.model_server import tiny
from tests.model_server.conftest import ParityRow
from tests.model_server.servers import encoded

VIEW = View(Size(4, 4), Size(4, 4), Size(4, 4))
TASK = ZeroShotClassification(scale=10.0, bias=-1.0, activation="sigmoid", text_length=0)
LABELS = ("a cat", "a cup of coffee", "the street at night, in green", "two cars", "rocket", "dog under a tree")


class Compass:
    """Texts as directions, by the label's last word."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, labels: Sequence[str]) -> NDArray[np.float32]:
        self.asked += labels
        directions = {"north.": (0, 1), "east.": (1, 0), "south.": (0, -1)}
        return np.array([directions[label.split()[-1]] for label in labels], np.float32)

    def decode(self, tokens: Sequence[int]) -> str:
        raise AssertionError


def test_the_labels_that_fit_best_come_first_with_their_place_in_the_list() -> None:
    compass = Compass()
    outputs = {"image_embeds": np.array([[0.6, 0.8]], np.float32)}
    options = AnswerOptions(max_label_count=2)
    answer = TASK.answer(outputs, Asked(VIEW, options, ("south", "east", "north"), compass))
    labels = answer.classification.labels
    assert [(label.index, label.name) for label in labels] == [(2, "north"), (1, "east")]
    assert [label.score for label in labels] == pytest.approx([1 / (1 + np.exp(-7)), 1 / (1 + np.exp(-5))])
    assert compass.asked == ["This is a photo of south.", "This is a photo of east.", "This is a photo of north."]


def test_without_labels_it_says_how_to_name_some() -> None:
    outputs = {"image_embeds": np.array([[0.6, 0.8]], np.float32)}
    with pytest.raises(InvalidRequestError, match="send candidate_labels"):
        TASK.answer(outputs, Asked(VIEW, AnswerOptions(), (), Compass()))


@pytest.mark.parametrize(
    ("kind", "runtime"),
    [("clip", "onnx"), ("clip", "torch"), ("siglip", "onnx"), ("siglip", "torch"), ("align", "torch")],
)
def test_an_answer_is_that_of_transformers_own_pipeline(
    kind: str,
    runtime: str,
    prepared: Callable[..., Path],
    source: Callable[[str], Path],
    chelsea: Image.Image,
    parity_table: list[ParityRow],
) -> None:
    model = Model.load(prepared(kind, runtime=runtime), preprocessing="exact", labels=LABELS)
    assert not model.manifest.fallback_reason
    oracle = pipeline(
        "zero-shot-image-classification",
        model=AutoModelForZeroShotImageClassification.from_pretrained(source(kind)),
        image_processor=load_processor(source(kind)),
        tokenizer=AutoTokenizer.from_pretrained(source(kind)),
    )
    image = encoded(chelsea)
    by_spec, asked = model.infer(
        [Job(image, AnswerOptions(max_label_count=6)), Job(image, AnswerOptions(candidate_labels=LABELS[3:]))]
    )
    assert isinstance(by_spec, Inferred)
    assert isinstance(asked, Inferred)
    difference = 0.0
    for inferred, candidates in ((by_spec, LABELS), (asked, LABELS[3:])):
        assert inferred.answer is not None
        ours = inferred.answer.classification.labels
        theirs = oracle(chelsea, candidate_labels=list(candidates))
        assert [label.name for label in ours] == [one["label"] for one in theirs]
        assert [candidates[label.index] for label in ours] == [label.name for label in ours]
        scores = np.array([(label.score, one["score"]) for label, one in zip(ours, theirs, strict=True)])
        assert np.ptp(scores) > 0.05, "the labels must not fit alike"
        difference = max(difference, float(np.abs(scores[:, 0] - scores[:, 1]).max()))
    assert difference < 1e-5
    parity_table.append(
        ParityRow("zero-shot-image-classification", kind, runtime, "pipeline", f"score {difference:.1e}")
    )


def test_a_model_of_another_form_is_refused_by_name(source: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigurationError, match=r"served with AlignModel, .*; this is a vit"):
        open_network(source("vit"), "zero-shot-image-classification", Trust())


def test_a_model_without_a_tokenizer_is_refused_where_it_is_prepared(tmp_path: Path) -> None:
    folder = tiny.make("clip", tmp_path / "clip")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ConfigurationError, match=r"its folder has no tokenizer.json: make one"):
        build(Order(str(folder), tmp_path / "cache"))
