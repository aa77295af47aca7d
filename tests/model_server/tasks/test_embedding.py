from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, ViTMAEConfig, pipeline

from framemesh.errors import ConfigurationError
from framemesh.v1.answer_pb2 import AnswerOptions
from model_server.exact import load_processor
from model_server.geometry import Size, View
from model_server.inference import Inferred, Job, Model
from model_server.networks import open_network
from model_server.tasks import Asked, Embedding
from model_server.trust import Trust
from tests.model_server.conftest import ParityRow
from tests.model_server.servers import encoded

VIEW = View(Size(4, 4), Size(4, 4), Size(4, 4))


def test_the_vector_is_as_the_network_gives_it() -> None:
    outputs = {"embedding": np.array([[1.5, -2.0, 0.25]], np.float32)}
    assert list(Embedding().answer(outputs, Asked(VIEW, AnswerOptions())).embedding.values) == [1.5, -2.0, 0.25]


def embedded(folder: Path, image: Image.Image) -> np.ndarray:
    model = Model.load(folder, preprocessing="exact")
    assert not model.manifest.fallback_reason
    assert model.manifest.task.name == "image-feature-extraction"
    (inferred,) = model.infer([Job(encoded(image))])
    assert isinstance(inferred, Inferred)
    assert inferred.answer is not None
    return np.array(inferred.answer.embedding.values)


@pytest.mark.parametrize(
    ("kind", "runtime"),
    [
        ("vit-features", "onnx"),
        ("dinov2-features", "onnx"),
        ("dinov2-features", "torch"),
        ("clip-vision-features", "torch"),
        ("siglip-vision-features", "onnx"),
        ("convnext-features", "onnx"),
        ("resnet-features", "torch"),
    ],
)
def test_an_embedding_is_the_pooled_output_of_transformers_own_pipeline(
    kind: str,
    runtime: str,
    prepared: Callable[..., Path],
    source: Callable[[str], Path],
    chelsea: Image.Image,
    parity_table: list[ParityRow],
) -> None:
    ours = embedded(prepared(kind, runtime=runtime), chelsea)
    oracle = pipeline(
        "image-feature-extraction",
        model=AutoModel.from_pretrained(source(kind)),
        image_processor=load_processor(source(kind)),
    )
    theirs = np.squeeze(oracle(chelsea, pool=True))
    assert theirs.shape == ours.shape
    difference = float(np.abs(ours - theirs).max())
    assert difference < 1e-5 * np.ptp(theirs)
    architecture = kind.removesuffix("-features")
    parity_table.append(
        ParityRow("image-feature-extraction", architecture, runtime, "pipeline", f"value {difference:.1e}")
    )


@pytest.mark.parametrize(("kind", "axes"), [("segformer-features", (2, 3)), ("vit", (1,))])
def test_a_model_that_was_not_trained_to_pool_gives_the_mean_of_its_last_state(
    kind: str,
    axes: tuple[int, ...],
    prepared: Callable[..., Path],
    source: Callable[[str], Path],
    chelsea: Image.Image,
) -> None:
    ours = embedded(prepared(kind, runtime="torch", task="image-feature-extraction"), chelsea)
    pixels = load_processor(source(kind))(images=chelsea, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        wanted = AutoModel.from_pretrained(source(kind))(pixel_values=pixels).last_hidden_state.mean(axes)[0].numpy()
    np.testing.assert_allclose(ours, wanted, atol=1e-5 * np.ptp(wanted))


def test_a_model_of_images_and_texts_gives_the_images_features(
    source: Callable[[str], Path], chelsea: Image.Image
) -> None:
    network = open_network(source("clip"), "image-feature-extraction", Trust())
    pixels = load_processor(source("clip"))(images=chelsea, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        (ours,) = network.module(pixels)
        wanted = AutoModel.from_pretrained(source("clip")).get_image_features(pixel_values=pixels).pooler_output
    assert ours.shape == (1, 16)
    torch.testing.assert_close(ours, wanted)


def test_a_model_whose_features_differ_each_time_is_refused(tmp_path: Path) -> None:
    ViTMAEConfig(architectures=["ViTMAEModel"]).save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match="vit_mae hides other parts"):
        open_network(tmp_path, "", Trust())
