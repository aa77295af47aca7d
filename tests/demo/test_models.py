import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from demo.efficientnet_lite import VARIANTS, renamed, weights
from demo.models import make
from framemesh.errors import ConfigurationError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folders: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("models") / name
            make(name, folders[name])
        return folders[name]

    return folder


@pytest.mark.parametrize(
    ("name", "cat", "espresso"), [("efficientnet-lite0", 0.77, 0.90), ("efficientnet-lite1", 0.78, 0.70)]
)
def test_the_models_know_the_photos(
    made: Callable[[str], Path], photos: Path, name: str, cat: float, espresso: float
) -> None:
    classify = _pipeline(made(name))
    for photo, label, score in (("chelsea.png", "Egyptian cat", cat), ("coffee.png", "espresso", espresso)):
        best, *_ = classify(Image.open(photos / photo).convert("RGB"))
        assert best["label"] == label
        assert best["score"] == pytest.approx(score, abs=0.01)


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_the_model_computes_what_the_weights_own_network_does(made: Callable[[str], Path], name: str) -> None:
    """Compared with TensorFlow's padding and no squeeze-and-excitation, written out plainly."""
    variant = VARIANTS[name]
    model = AutoModelForImageClassification.from_pretrained(made(name))
    torch.manual_seed(0)
    pixels = torch.randn(2, 3, variant.image_size, variant.image_size)
    with torch.inference_mode():
        torch.testing.assert_close(
            model(pixels).logits,
            _efficientnet_lite(weights(variant), variant.block_repeats, pixels),
            atol=1e-3,
            rtol=1e-4,
        )


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_transformers_finds_each_weight_and_no_other(made: Callable[[str], Path], name: str) -> None:
    _, found = AutoModelForImageClassification.from_pretrained(made(name), output_loading_info=True)
    assert not any(found.values())


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="another network"):
        renamed({"layer1.0.conv1.weight": torch.zeros(1)})


def test_a_folder_is_an_ordinary_one(made: Callable[[str], Path]) -> None:
    folder = made("efficientnet-lite0")
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "preprocessor_config.json"}
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["EfficientNetForImageClassification"]
    assert config["id2label"]["281"] == "tabby, tabby cat"
    assert len(config["id2label"]) == 1000


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("mine")
    make("efficientnet-lite0", folder)
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="can't make"):
        make("efficientnet-lite0", tmp_path / "file" / "model")


def test_the_command_makes_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "lite0"
    subprocess.run([sys.executable, "-m", "demo.models", "efficientnet-lite0", str(folder)], check=True)
    assert (folder / "model.safetensors").exists()


def _pipeline(folder: Path) -> Any:
    return pipeline(  # type: ignore[call-overload]  # it knows no image processors of unknown type
        "image-classification",
        model=AutoModelForImageClassification.from_pretrained(folder),
        image_processor=AutoImageProcessor.from_pretrained(folder, backend="pil"),  # type: ignore[no-untyped-call]
    )


def _efficientnet_lite(state: dict[str, Tensor], repeats: tuple[int, ...], x: Tensor) -> Tensor:
    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return functional.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-3)

    def conv(x: Tensor, name: str, stride: int = 1, *, depthwise: bool = False) -> Tensor:
        kernel = state[f"{name}.weight"]
        pads = []
        for size in (x.shape[3], x.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel.shape[-1] - size, 0)
            pads += [total // 2, total - total // 2]
        return functional.conv2d(
            functional.pad(x, pads), kernel, stride=stride, groups=kernel.shape[0] if depthwise else 1
        )

    def block(x: Tensor, name: str, stride: int) -> Tensor:
        hidden = x
        if f"{name}._expand_conv.weight" in state:
            hidden = functional.relu6(norm(conv(hidden, f"{name}._expand_conv"), f"{name}._bn0"))
        hidden = functional.relu6(norm(conv(hidden, f"{name}._depthwise_conv", stride, depthwise=True), f"{name}._bn1"))
        hidden = norm(conv(hidden, f"{name}._project_conv"), f"{name}._bn2")
        return hidden + x if hidden.shape == x.shape else hidden

    x = functional.relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
    strides = [
        stride if index == 0 else 1
        for repeat, stride in zip(repeats, (1, 2, 2, 2, 1, 2, 1), strict=True)
        for index in range(repeat)
    ]
    for number, stride in enumerate(strides):
        x = block(x, f"_blocks.{number}", stride)
    x = functional.relu6(norm(conv(x, "_conv_head"), "_bn1"))
    return functional.linear(x.mean((2, 3)), state["_fc.weight"], state["_fc.bias"])
