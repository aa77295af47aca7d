from pathlib import Path

import pytest

from framemesh import digests
from model_server.artifacts import (
    FORMAT,
    Manifest,
    is_intact,
    parse_manifest,
    prepared_folder,
    read_manifest,
    write_manifest,
)
from model_server.geometry import Size
from model_server.preprocessing import Preprocessing, Rule, ShortestEdge
from model_server.tasks import Classification, Embedding, Task
from model_server.trust import Trust

CLASSIFIER = Classification(("tabby, tabby cat", "Ägyptische Katze"), "softmax")


def manifest(folder: Path, *, resize: Rule | None = None, version: int = FORMAT, task: Task = CLASSIFIER) -> Manifest:
    affine = (1 / 255, 0.1, 0.2), (-1.0, 0.0, 1e-9)
    preprocessing = None if resize is None else Preprocessing(resize, 3, Size(224, 192), *affine)
    return Manifest(
        format=version,
        version="abc",
        runtime="onnx",
        precision="int8",
        fallback_reason="",
        task=task,
        preprocessing=preprocessing,
        preferred="fast",
        trust=Trust(pickle=True),
        files=digests.of_files(folder.iterdir()),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "model.onnx.data").write_bytes(b"weights")
    return tmp_path


@pytest.mark.parametrize("resize", [Size(224, 192), ShortestEdge(256), ShortestEdge(256, 512), None])
@pytest.mark.parametrize("task", [CLASSIFIER, Embedding()])
def test_a_manifest_is_read_as_it_was_written(folder: Path, resize: Rule | None, task: Task) -> None:
    written = manifest(folder, resize=resize, task=task)
    write_manifest(folder, written)
    assert read_manifest(folder) == parse_manifest((folder / "manifest.json").read_bytes()) == written
    assert is_intact(folder)


def test_a_damaged_file_shows(folder: Path) -> None:
    write_manifest(folder, manifest(folder))
    (folder / "model.onnx.data").write_bytes(b"Weights")
    assert not is_intact(folder)


def test_a_missing_file_shows(folder: Path) -> None:
    write_manifest(folder, manifest(folder))
    (folder / "model.onnx").unlink()
    assert not is_intact(folder)


def test_a_manifest_of_another_format_is_not_ours(folder: Path) -> None:
    write_manifest(folder, manifest(folder, version=FORMAT + 1))
    assert not is_intact(folder)


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_a_broken_manifest_shows(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    assert not is_intact(folder)


def test_a_folder_that_is_not_there_is_not_intact(tmp_path: Path) -> None:
    assert not is_intact(prepared_folder(tmp_path, "vit", "abc", "onnx-fp32"))
