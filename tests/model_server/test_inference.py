import itertools
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from framemesh.errors import ConfigurationError, InvalidImageError, InvalidRequestError
from framemesh.v1.answer_pb2 import AnswerOptions
from model_server.artifacts import read_manifest, write_manifest
from model_server.building import Order, build
from model_server.inference import Inferred, Job, Model
from model_server.runtimes import Arrays, Runtime
from tests.model_server import tiny
from tests.model_server.servers import encoded

WORST_DRAFT_DIFFERENCE = 0.05


@pytest.fixture(scope="module")
def model(vit: Path, cache: Path) -> Model:
    return Model.load(build(Order(str(vit), cache)))


@pytest.fixture(scope="module")
def lite(lite0: Path, cache: Path) -> Model:
    return Model.load(build(Order(str(lite0), cache)))


def labels(outcome: Any) -> list[tuple[str, float]]:
    assert isinstance(outcome, Inferred), outcome
    assert outcome.answer is not None
    return [(label.name, label.score) for label in outcome.answer.classification.labels]


def answered(model: Model, jobs: Sequence[Job]) -> list[Inferred]:
    outcomes = model.infer(jobs)
    assert all(isinstance(outcome, Inferred) for outcome in outcomes)
    return [outcome for outcome in outcomes if isinstance(outcome, Inferred)]


def test_a_broken_image_fails_alone_and_not_its_batch(model: Model, chelsea: Image.Image) -> None:
    whole = encoded(chelsea)
    (alone,) = model.infer([Job(whole)])
    first, broken, last = model.infer([Job(whole), Job(whole[:-5000]), Job(whole, AnswerOptions(max_label_count=2))])
    assert isinstance(first, Inferred)
    assert isinstance(broken, InvalidImageError)
    assert isinstance(last, Inferred)
    assert first.batch_size == last.batch_size == 2
    assert [name for name, _ in labels(first)] == [name for name, _ in labels(alone)]
    assert [name for name, _ in labels(last)] == [name for name, _ in labels(alone)[:2]]
    assert labels(first)[0][1] == pytest.approx(labels(alone)[0][1], abs=1e-5)


def test_a_batch_of_broken_images_runs_nothing(model: Model) -> None:
    assert all(isinstance(outcome, InvalidImageError) for outcome in model.infer([Job(b""), Job(b"no")]))


def test_a_job_that_nobody_wants_any_more_is_left_out(model: Model, chelsea: Image.Image) -> None:
    whole = encoded(chelsea)
    first, unwanted, last = model.infer([Job(whole), Job(whole), Job(whole)], lambda number: number != 1)
    assert unwanted is None
    assert isinstance(first, Inferred)
    assert isinstance(last, Inferred)
    assert last.batch_size == 2


def test_every_stage_is_timed(model: Model, chelsea: Image.Image) -> None:
    (answer,) = model.infer([Job(encoded(chelsea))])
    assert isinstance(answer, Inferred)
    assert min(answer.preprocess_seconds, answer.inference_seconds, answer.postprocess_seconds) > 0


def test_the_networks_own_input_gives_the_same_answer_or_its_outputs(model: Model, chelsea: Image.Image) -> None:
    preprocessing = model.manifest.preprocessing
    assert preprocessing is not None
    whole = np.asarray(chelsea.resize((32, 32), Image.Resampling(preprocessing.resample)), np.float32)
    pixels = np.asarray(((whole / 255 - 0.5) / 0.5).transpose(2, 0, 1), np.float32)
    image, tensor, raw = model.infer([Job(encoded(chelsea)), Job(pixels), Job(pixels, raw=True)])
    assert [name for name, _ in labels(tensor)] == [name for name, _ in labels(image)]
    assert isinstance(raw, Inferred)
    assert raw.answer is None
    assert raw.outputs["logits"].shape == (1, 10)


def test_images_whose_inputs_differ_in_size_are_answered_as_each_alone(tmp_path: Path, chelsea: Image.Image) -> None:
    """A fully convolutional network whose processor keeps the image's proportions."""
    source = tiny.make("convnext", tmp_path / "convnext")
    (source / "preprocessor_config.json").write_text(
        '{"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 64, "longest_edge": 96}, '
        '"do_pad": false}'
    )
    model = Model.load(build(Order(str(source), tmp_path, runtime="torch")))
    assert model.manifest.preprocessing is not None
    assert model.manifest.preprocessing.fixed_input is None
    bodies = [encoded(chelsea.resize(size)) for size in ((200, 200), (300, 200), (200, 200))]
    together = model.infer([Job(body) for body in bodies])
    sizes = [outcome.batch_size for outcome in together if isinstance(outcome, Inferred)]
    assert sizes == [2, 1, 2]
    for body, outcome in zip(bodies, together, strict=True):
        (alone,) = model.infer([Job(body)])
        for (name, score), (other, expected) in zip(labels(outcome), labels(alone), strict=True):
            assert name == other
            assert score == pytest.approx(expected, abs=1e-5)


class Slowed:
    """A runtime that also keeps its thread busy for a given time in each run."""

    on_cpu = True  # measured by the thread's own time, which other programs don't stretch

    def __init__(self, runtime: Runtime, seconds: Callable[[int], float]) -> None:
        self._runtime = runtime
        self._seconds = seconds

    def run(self, pixels: NDArray[np.float32]) -> Arrays:
        until = time.thread_time() + self._seconds(len(pixels))
        while time.thread_time() < until:
            pass
        return self._runtime.run(pixels)

    def shrink(self, pixels: NDArray[np.float32]) -> None:
        self._runtime.shrink(pixels)

    def embed(self, tokens: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._runtime.embed(tokens, mask)


def test_images_run_together_where_a_batch_takes_hardly_longer_than_one(model: Model) -> None:
    together = model.on(Slowed(model.runtime, lambda _: 0.04))
    assert together.warm_up(1) == 1
    assert together.warm_up(4) == 4


@pytest.mark.parametrize("slow", range(3))
def test_one_run_that_something_else_holds_up_makes_no_batches(model: Model, slow: int) -> None:
    lone = itertools.count()

    def seconds(images: int) -> float:
        return images * 0.15 + (0.5 if images == 1 and next(lone) == slow else 0)

    assert model.on(Slowed(model.runtime, seconds)).warm_up(8) == 1


def test_photos_of_any_size_run_together_where_the_models_input_has_one(
    model: Model, chelsea: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a batch's count bounds its pixels."""
    monkeypatch.setattr(Model, "_doubling_pays", lambda *_: True)
    warm = model.on(model.runtime)
    assert warm.warm_up(4) == 4
    jobs = [Job(encoded(chelsea.resize(size))) for size in ((64, 48), (48, 64), (1280, 720), (1920, 1080))]
    assert [outcome.batch_size for outcome in answered(warm, jobs)] == [4, 4, 4, 4]


def test_a_batch_holds_about_as_many_pixels_as_the_largest_that_was_measured(
    prepared: Callable[..., Path], chelsea: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GLPN's input is as large as the photo."""
    monkeypatch.setattr(Model, "_doubling_pays", lambda *_: True)
    warm = Model.load(prepared("glpn", runtime="torch"))
    assert warm.warm_up(4) == 4
    as_measured, large, small = (Job(encoded(chelsea.resize(size))) for size in ((320, 240), (640, 480), (160, 120)))
    assert [outcome.batch_size for outcome in answered(warm, [as_measured] * 6)] == [4, 4, 4, 4]
    assert [outcome.batch_size for outcome in answered(warm, [large] * 4)] == [1]
    assert [outcome.batch_size for outcome in answered(warm, [small] * 8)] == [8] * 8
    assert [outcome.batch_size for outcome in answered(warm, [small, large, small])] == [1, 1]
    (own_input,) = answered(warm, [Job(np.zeros((3, 480, 640), np.float32))] * 4)
    assert own_input.batch_size == 1


def test_a_model_that_only_transformers_makes_inputs_for_cannot_be_fast(vit: Path, cache: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(build(Order(str(vit), cache)), tmp_path / "exact")
    write_manifest(folder, replace(read_manifest(folder), preprocessing=None, preferred="exact"))
    with pytest.raises(ConfigurationError, match="set FRAMEMESH_MODEL_PREPROCESSING to exact or auto"):
        Model.load(folder, preprocessing="fast")
    assert Model.load(folder).preprocessing == "exact"


def test_the_demo_model_knows_the_photos(lite: Model, photos: Path) -> None:
    outcomes = lite.infer([Job((photos / name).read_bytes()) for name in ("chelsea.png", "coffee.png")])
    assert [labels(outcome)[0][0] for outcome in outcomes] == ["Egyptian cat", "espresso"]


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg"])
def test_a_scaled_jpeg_is_answered_as_the_whole_one(lite: Model, photos: Path, name: str) -> None:
    """The same pixels as PNG take the exact path, without the JPEG decoder's own scaling."""
    jpeg = encoded(Image.open(photos / name).convert("RGB").resize((1920, 1080)), "JPEG", quality=92)
    png = encoded(Image.open(BytesIO(jpeg)), compress_level=1)
    every = AnswerOptions(max_label_count=1000)
    (scaled,), (whole,) = lite.infer([Job(jpeg)]), lite.infer([Job(png, every)])
    exact = dict(labels(whole))
    assert labels(scaled)[0][0] == max(exact, key=exact.__getitem__)
    assert max(abs(score - exact[label]) for label, score in labels(scaled)) < WORST_DRAFT_DIFFERENCE


def test_an_input_that_the_network_cannot_take_fails_alone(model: Model, chelsea: Image.Image) -> None:
    odd = Job(np.zeros((3, 30, 30), np.float32))
    whole, unfit = model.infer([Job(encoded(chelsea)), odd])
    assert isinstance(whole, Inferred)
    assert isinstance(unfit, InvalidRequestError)
    assert "can't take this input of shape [3, 30, 30]" in str(unfit)


def test_an_input_whose_outputs_no_answer_can_be_made_of_fails_alone(model: Model) -> None:
    class Failing:
        labels = ()

        def answer(self, *_: object) -> None:
            raise ValueError("cannot convert float NaN to integer")

    failing: Any = replace(model.manifest, task=Failing())  # type: ignore[arg-type]
    pixels = np.zeros((3, 32, 32), np.float32)
    raw, unfit = Model(failing, model.runtime, model._preparer).infer([Job(pixels, raw=True), Job(pixels)])
    assert isinstance(raw, Inferred)
    assert isinstance(unfit, InvalidRequestError)
