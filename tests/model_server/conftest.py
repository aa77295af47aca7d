"""Models made once for all tests, and prepared once."""

import os
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

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
    build(Order(str(folder), cache))
    return folder


@pytest.fixture(scope="session")
def lite0(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The demo's EfficientNet-Lite0, prepared for ONNX."""
    from demo.models import make

    folder = tmp_path_factory.mktemp("demo") / "lite0"
    make("efficientnet-lite0", folder)
    build(Order(str(folder), cache))
    return folder


@pytest.fixture(scope="session")
def chelsea(photos: Path) -> Image.Image:
    """A cat, 451 x 300 pixels."""
    return Image.open(photos / "chelsea.png").convert("RGB")


@pytest.fixture(scope="session")
def wide_and_tall(chelsea: Image.Image) -> list[Image.Image]:
    """The cat as it is, upright, and narrower at odd sizes."""
    return [chelsea, chelsea.transpose(Image.Transpose.ROTATE_90), chelsea.resize((97, 131))]


@pytest.fixture(scope="session")
def small_photos(chelsea: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small photos of several shapes, for models whose work grows with the photo."""
    folder = tmp_path_factory.mktemp("photos")
    for width, height in ((160, 120), (120, 160), (200, 90), (97, 101)):
        chelsea.resize((width, height)).save(folder / f"{width}.png")
    return folder


@pytest.fixture(scope="session")
def prepared(source: Callable[[str], Path], cache: Path) -> Callable[..., Path]:
    """The folder of a small model that is prepared for a runtime, by its kind."""

    def folder(kind: str, **options: Any) -> Path:
        return build(Order(str(source(kind)), cache, **options))

    return folder


@dataclass(frozen=True, slots=True)
class ParityRow:
    """One line of the table that `FRAMEMESH_PARITY_TABLE` names: how near our answer is to transformers' own."""

    task: str
    architecture: str
    runtime: str
    oracle: str
    difference: str


@pytest.fixture(scope="session")
def parity_table() -> Iterator[list[ParityRow]]:
    """Rows that the parity tests add; written as Markdown where the environment says so."""
    rows: list[ParityRow] = []
    yield rows
    if path := os.environ.get("FRAMEMESH_PARITY_TABLE"):
        lines = ["| task | architecture | runtime | against | greatest difference |", "| --- | --- | --- | --- | --- |"]
        lines += sorted(f"| {' | '.join(astuple(row))} |" for row in rows)
        Path(path).write_text("\n".join(lines) + "\n")
