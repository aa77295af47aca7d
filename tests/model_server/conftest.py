"""Models made once for all tests, and prepared once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from model_server.building import Order, build
from tests.model_server import tiny


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of prepared models that the tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a small model, by its kind."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tiny.make(kind, tmp_path_factory.mktemp("models") / kind)
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def vit(source: Callable[[str], Path], cache: Path) -> Path:
    """A small ViT that is prepared for ONNX, so that servers start at once."""
    folder = source("vit")
    build(Order(str(folder), "", "onnx", cache))
    return folder


@pytest.fixture(scope="session")
def lite0(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The demo's EfficientNet-Lite0, prepared for ONNX."""
    from demo.models import make

    folder = tmp_path_factory.mktemp("demo") / "lite0"
    make("efficientnet-lite0", folder)
    build(Order(str(folder), "", "onnx", cache))
    return folder


@pytest.fixture(scope="session")
def chelsea(photos: Path) -> Image.Image:
    """A cat, 451 x 300 pixels."""
    return Image.open(photos / "chelsea.png").convert("RGB")
