"""Small models: made once in a process, prepared once in a run."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_server.building import Order, build
from tests.model_server import tiny

__all__ = ["cache", "prepare_ahead", "prepared", "source", "vit"]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of prepared models that all tests of a run share: what one worker has prepared, another takes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "prepared"
    folder.mkdir(exist_ok=True)
    return folder


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
def vit(source: Callable[[str], Path], prepared: Callable[..., Path]) -> Path:
    """A small ViT that is prepared for ONNX, so that servers start at once."""
    prepared("vit")
    return source("vit")


@pytest.fixture(scope="session")
def prepared(source: Callable[[str], Path], cache: Path, small_photos: Path) -> Callable[..., Path]:
    """The folder of a small model that is prepared for a runtime, by its kind.

    Only `vit` is compared on all photos of all sizes, as models are by default.
    """

    def folder(kind: str, **options: Any) -> Path:
        samples = None if kind == "vit" else small_photos
        return build(Order(str(source(kind)), cache, samples=samples, **options))

    return folder


@pytest.fixture(scope="session")
def prepare_ahead(prepared: Callable[..., Path], cache: Path) -> Callable[[Path], None]:
    """Puts the small ViT, prepared for ONNX, into the data directory of a mesh that is to start with it.

    To prepare it there would take ten seconds of every mesh.
    """
    folder = prepared("vit")

    def put(data: Path) -> None:
        shutil.copytree(folder, data / "models" / "prepared" / folder.relative_to(cache))

    return put
