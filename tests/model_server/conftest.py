"""The demo's model, photos, and the table of parity."""

import os
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest
from PIL import Image

from model_server.building import Order, build
from tests.models import cache, prepared, source, vit

__all__ = ["cache", "prepared", "source", "vit"]


@pytest.fixture(scope="session")
def lite0(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The demo's EfficientNet-Lite0, prepared for ONNX."""
    from demo.models import make

    folder = tmp_path_factory.mktemp("demo") / "lite0"
    make("efficientnet-lite0", folder)
    build(Order(str(folder), cache))
    return folder


@pytest.fixture(scope="session")
def wide_and_tall(chelsea: Image.Image) -> list[Image.Image]:
    """The cat as it is, upright, and narrower at odd sizes."""
    return [chelsea, chelsea.transpose(Image.Transpose.ROTATE_90), chelsea.resize((97, 131))]


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
