from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from framemesh.errors import ConfigurationError, InvalidImageError
from model_server.building import Order, build
from model_server.inference import Answer, Job, Model
from tests.model_server.servers import encoded

WORST_DRAFT_DIFFERENCE = 0.05


class FewOutputs:
    """A network with fewer outputs than classes."""

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros((len(pixels), 3), np.float32)


@pytest.fixture(scope="module")
def model(vit: Path, cache: Path) -> Model:
    return Model.load(build(Order(str(vit), "", "onnx", cache)))


@pytest.fixture(scope="module")
def lite(lite0: Path, cache: Path) -> Model:
    return Model.load(build(Order(str(lite0), "", "onnx", cache)))


def test_a_broken_image_fails_alone_and_not_its_batch(model: Model, chelsea: Image.Image) -> None:
    whole = encoded(chelsea)
    alone, *_ = model.infer([Job(whole, 5)])
    first, broken, last = model.infer([Job(whole, 5), Job(whole[:-5000], 5), Job(whole, 2)])
    assert isinstance(alone, Answer)
    assert isinstance(first, Answer)
    assert isinstance(broken, InvalidImageError)
    assert isinstance(last, Answer)
    assert first.batch_size == last.batch_size == 2
    assert [label.index for label in first.labels] == [label.index for label in alone.labels]
    assert [label.index for label in last.labels] == [label.index for label in alone.labels[:2]]
    assert first.labels[0].score == pytest.approx(alone.labels[0].score, abs=1e-5)


def test_a_batch_of_broken_images_runs_nothing(model: Model) -> None:
    assert all(isinstance(outcome, InvalidImageError) for outcome in model.infer([Job(b"", 5), Job(b"no", 5)]))


def test_every_stage_is_timed(model: Model, chelsea: Image.Image) -> None:
    (answer,) = model.infer([Job(encoded(chelsea), 5)])
    assert isinstance(answer, Answer)
    assert min(answer.preprocess_seconds, answer.inference_seconds, answer.postprocess_seconds) > 0


def test_a_network_without_an_output_for_each_class_is_refused(model: Model) -> None:
    with pytest.raises(ConfigurationError, match=r"names 10 classes.*id2label"):
        Model(model.manifest, FewOutputs()).warm_up(2)


def test_the_demo_model_knows_the_photos(lite: Model, photos: Path) -> None:
    names = [_scores(lite, (photos / name).read_bytes())[0][0] for name in ("chelsea.png", "coffee.png")]
    assert names == ["Egyptian cat", "espresso"]


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg"])
def test_a_scaled_jpeg_is_answered_as_the_whole_one(lite: Model, photos: Path, name: str) -> None:
    """The same pixels as PNG take the exact path, without the JPEG decoder's own scaling."""
    jpeg = encoded(Image.open(photos / name).convert("RGB").resize((1920, 1080)), "JPEG", quality=92)
    exact = dict(_scores(lite, encoded(Image.open(BytesIO(jpeg)), compress_level=1), count=1000))
    scaled = _scores(lite, jpeg)
    assert scaled[0][0] == max(exact, key=exact.__getitem__)
    assert max(abs(score - exact[label]) for label, score in scaled) < WORST_DRAFT_DIFFERENCE


def _scores(model: Model, body: bytes, count: int = 5) -> list[tuple[str, float]]:
    (answer,) = model.infer([Job(body, count)])
    assert isinstance(answer, Answer), answer
    return [(label.name, label.score) for label in answer.labels]
