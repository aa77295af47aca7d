from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForDepthEstimation, ZoeDepthConfig, pipeline

from framemesh.errors import ConfigurationError, InternalError
from framemesh.v1.answer_pb2 import Answer, AnswerOptions
from model_server.agreement import agreement
from model_server.exact import load_processor
from model_server.geometry import Size, View
from model_server.inference import Inferred, Job, Model
from model_server.networks import open_network
from model_server.tasks import Asked, Depth
from model_server.tasks.depth import pictured
from model_server.trust import Trust
from tests.model_server.conftest import ParityRow
from tests.model_server.servers import encoded


def answer(depth: np.ndarray, frame: Size) -> Answer:
    return Depth().answer({"predicted_depth": depth[None]}, Asked(View(frame, frame, frame), AnswerOptions()))


def depths(answer: Answer) -> np.ndarray:
    """The depths that an answer's picture stands for, as answer.proto says."""
    depth = answer.depth
    values = np.asarray(Image.open(BytesIO(depth.png)), np.float64)
    return depth.minimum + values / 65535 * (depth.maximum - depth.minimum)


def test_the_picture_is_as_large_as_the_frame_and_spans_the_range() -> None:
    found = answer(np.array([[1, 2], [3, 5]], np.float32), Size(2, 2))
    assert (found.depth.minimum, found.depth.maximum) == (1, 5)
    np.testing.assert_allclose(depths(found), [[1, 2], [3, 5]], atol=4 / 65535)
    assert depths(answer(np.eye(4, dtype=np.float32), Size(31, 17))).shape == (17, 31)


def test_a_level_depth_has_no_range() -> None:
    found = answer(np.full((4, 4), 7, np.float32), Size(9, 6))
    np.testing.assert_allclose(depths(found), np.full((6, 9), 7), rtol=1e-6)


def test_a_frame_of_one_pixel_has_one_depth() -> None:
    assert depths(answer(np.full((8, 8), 2, np.float32), Size(1, 1))).tolist() == [[2]]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_depths_that_are_no_numbers_are_an_error(wrong: float) -> None:
    with pytest.raises(InternalError, match="no numbers"):
        answer(np.array([[1, wrong]], np.float32), Size(2, 1))


def test_agreement_is_the_share_of_pixels_within_a_hundredth_of_the_range() -> None:
    theirs = np.linspace(0, 100, 40, dtype=np.float32).reshape(4, 10)
    ours = theirs.copy()
    ours[0, 1:5] += 3
    found = agreement(pictured(ours), pictured(theirs))
    assert found.share == pytest.approx(0.9)
    assert found.difference == pytest.approx(0.03, abs=1e-4)


def test_models_that_need_torch_around_them_are_refused_by_name(tmp_path: Path) -> None:
    ZoeDepthConfig(architectures=["ZoeDepthForDepthEstimation"]).save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match="zoedepth models are not served"):
        open_network(tmp_path, "", Trust())


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize("kind", ["dpt", "depth-anything", "glpn"])
def test_an_answer_is_that_of_transformers_own_pipeline(
    kind: str,
    runtime: str,
    prepared: Callable[..., Path],
    source: Callable[[str], Path],
    chelsea: Image.Image,
    parity_table: list[ParityRow],
) -> None:
    folder = prepared(kind, runtime=runtime)
    model = Model.load(folder)
    assert not model.manifest.fallback_reason
    assert model.preprocessing == "fast"
    oracle = pipeline(
        "depth-estimation",
        model=AutoModelForDepthEstimation.from_pretrained(source(kind)),
        image_processor=load_processor(source(kind)),
    )
    worst = 0.0
    for photo in (chelsea, chelsea.resize((97, 161)), chelsea.rotate(90, expand=True)):
        (inferred,) = model.infer([Job(encoded(photo))])
        assert isinstance(inferred, Inferred)
        assert inferred.answer is not None
        theirs = oracle(photo)["predicted_depth"].numpy()
        spread = float(np.ptp(theirs))
        assert spread > 0.01 * float(np.abs(theirs).max())
        difference = float(np.abs(depths(inferred.answer) - theirs).max()) / spread
        assert difference < 1e-3
        worst = max(worst, difference)
    parity_table.append(ParityRow("depth-estimation", kind, runtime, "pipeline", f"share of range {worst:.1e}"))
