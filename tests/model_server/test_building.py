import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from framemesh.errors import ConfigurationError
from model_server import exporting
from model_server.artifacts import read_manifest
from model_server.building import Order, build
from tests.model_server import tiny


def order(source: Path, cache: Path, runtime: str = "onnx") -> Order:
    return Order(str(source), "", runtime, cache)  # type: ignore[arg-type]


def test_a_prepared_model_says_what_it_is_and_is_reused(vit: Path, cache: Path) -> None:
    folder = build(order(vit, cache))
    manifest = read_manifest(folder)
    assert folder == cache / "vit" / manifest.version / "onnx"
    assert manifest.labels == tuple(tiny.LABELS.values())
    assert manifest.activation == "softmax"
    assert {"model.onnx", "parity.json"} <= manifest.files.keys()
    before = (folder / "model.onnx").stat()
    assert build(order(vit, cache)) == folder
    assert (folder / "model.onnx").stat() == before


def test_the_graph_agrees_with_torch_alone_and_in_batches(vit: Path, cache: Path) -> None:
    parity = json.loads((build(order(vit, cache)) / "parity.json").read_text())
    assert parity["batches"] == [1, 3]
    assert parity["top_1_agreement"] == 1.0
    assert parity["max_absolute_error"] < 1e-4


def test_for_torch_the_prepared_model_is_the_models_own_files(vit: Path, cache: Path) -> None:
    manifest = read_manifest(build(order(vit, cache, "torch")))
    assert manifest.files.keys() == {"config.json", "model.safetensors", "preprocessor_config.json"}


def test_a_damaged_model_is_prepared_anew(vit: Path, tmp_path: Path) -> None:
    folder = build(order(vit, tmp_path, "torch"))
    (folder / "config.json").write_text("{}")
    assert build(order(vit, tmp_path, "torch")) == folder
    assert (folder / "config.json").read_bytes() == (vit / "config.json").read_bytes()


def test_a_pinned_model_that_is_prepared_needs_no_hub(vit: Path, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    made = build(order(vit, tmp_path, "torch"))
    folder = shutil.copytree(made, tmp_path / "owner-model" / commit / "torch")
    assert build(Order("owner/model", commit, "torch", tmp_path)) == folder


@pytest.mark.parametrize(
    ("options", "activation"),
    [
        ({"problem_type": "multi_label_classification"}, "sigmoid"),
        ({"id2label": {0: "cat"}}, "sigmoid"),
        ({"problem_type": "regression"}, "none"),
    ],
)
def test_scores_are_made_as_the_config_says(options: dict[str, object], activation: str, tmp_path: Path) -> None:
    folder = build(order(tiny.make("vit", tmp_path / "vit", **options), tmp_path, "torch"))
    assert read_manifest(folder).activation == activation


def test_classes_without_names_get_those_of_transformers(tmp_path: Path) -> None:
    source = tiny.make("vit", tmp_path / "vit")
    _edit(source / "config.json", lambda config: config.update(id2label=None, label2id=None, num_labels=10))
    assert read_manifest(build(order(source, tmp_path, "torch"))).labels[:2] == ("LABEL_0", "LABEL_1")


def test_a_model_of_another_task_is_refused(tmp_path: Path) -> None:
    source = tiny.make("vit", tmp_path / "vit")
    _edit(source / "config.json", lambda config: config.update(architectures=["ViTModel"]))
    with pytest.raises(ConfigurationError, match=r"no image classifier.*ViTModel"):
        build(order(source, tmp_path))


def test_an_unknown_kind_of_model_is_refused(tmp_path: Path) -> None:
    source = tiny.make("vit", tmp_path / "vit")
    _edit(source / "config.json", lambda config: config.update(model_type="newest"))
    with pytest.raises(ConfigurationError, match="transformers can't read"):
        build(order(source, tmp_path))


def test_weights_without_a_classifier_are_refused(tmp_path: Path) -> None:
    from transformers import ViTModel

    source = tiny.make("vit", tmp_path / "vit")
    config = (source / "config.json").read_bytes()
    ViTModel.from_pretrained(source).save_pretrained(source)
    (source / "config.json").write_bytes(config)
    with pytest.raises(ConfigurationError, match=r"lack 2.*classifier"):
        build(order(source, tmp_path))


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    source = tiny.make("vit", tmp_path / "vit")
    (source / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not a header")
    with pytest.raises(ConfigurationError, match="can't load the model's weights"):
        build(order(source, tmp_path))


def test_a_processor_that_does_more_than_we_do_is_refused_by_name(tmp_path: Path) -> None:
    source = tiny.make("vit", tmp_path / "vit")
    processor = {"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": True}
    _edit(source / "preprocessor_config.json", lambda old: old.update(processor))
    with pytest.raises(ConfigurationError, match=r"MobileViTImageProcessor.*differ"):
        build(order(source, tmp_path))


def test_a_graph_that_disagrees_is_refused_and_leaves_nothing(
    vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(ConfigurationError, match="FRAMEMESH_MODEL_RUNTIME=torch"):
        build(order(vit, tmp_path))
    assert not list(tmp_path.rglob("model.onnx"))


def test_a_network_that_cannot_be_exported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import ViTForImageClassification

    def forward(_: ViTForImageClassification, pixel_values: torch.Tensor) -> torch.Tensor:
        return pixel_values if float(pixel_values.sum()) > 0 else -pixel_values  # what no graph can say

    monkeypatch.setattr(ViTForImageClassification, "forward", forward)
    with pytest.raises(ConfigurationError, match=r"can't be exported.*FRAMEMESH_MODEL_RUNTIME=torch"):
        build(order(tiny.make("vit", tmp_path / "vit"), tmp_path))


async def test_two_at_once_make_one_model(vit: Path, tmp_path: Path) -> None:
    argv = ("-m", "model_server.building", "--revision", "", "--runtime", "torch", "--cache", str(tmp_path), str(vit))
    both = [await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=asyncio.subprocess.PIPE) for _ in "ab"]
    answers = [(await process.communicate())[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0] == answers[1]
    folder = Path(json.loads(answers[0])["folder"])
    assert [path.name for path in sorted(folder.parent.iterdir())] == [".torch.lock", "torch"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_cache_that_cannot_be_written_is_said(vit: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="FRAMEMESH_MODEL_CACHE"):
        build(order(vit, tmp_path / "cache", "torch"))


def test_a_cache_that_is_a_file_is_said(vit: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(ConfigurationError, match="FRAMEMESH_MODEL_CACHE"):
        build(order(vit, tmp_path / "cache", "torch"))


def _edit(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
