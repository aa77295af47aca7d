import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from framemesh.errors import ConfigurationError
from model_server import exporting, making, quantising, samples
from model_server.artifacts import Manifest, read_manifest
from model_server.building import Order, build
from model_server.inference import Inferred, Job, Model
from model_server.preparers import FastPreparer, Prepared
from model_server.preparing import prepare
from model_server.runtimes import OnnxRuntime
from model_server.tasks import Classification
from model_server.trust import Trust
from tests.model_server import tiny
from tests.model_server.servers import encoded

SIX = {index: f"kind {index}" for index in range(6)}


def order(source: Path, cache: Path, runtime: str = "onnx", **options: Any) -> Order:
    return Order(str(source), cache, runtime=runtime, **options)  # type: ignore[arg-type]


def made(source: Path, cache: Path, runtime: str = "onnx", **options: Any) -> tuple[Manifest, dict[str, Any]]:
    """The manifest and the parity report of a model that is prepared so."""
    folder = build(order(source, cache, runtime, **options))
    return read_manifest(folder), json.loads((folder / "parity.json").read_text())


def labels(folder: Path, photo: Image.Image) -> list[tuple[str, float]]:
    (outcome,) = Model.load(folder).infer([Job(encoded(photo))])
    assert isinstance(outcome, Inferred)
    assert outcome.answer is not None
    return [(label.name, label.score) for label in outcome.answer.classification.labels]


def test_how_far_an_export_is_is_told(vit: Path, small_photos: Path, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    (tmp_path / "file").touch()
    nowhere = tmp_path / "file" / "stand-in"  # where nothing can be left, which is no reason to give up
    asked = order(vit, tmp_path, samples=small_photos, stand_in=nowhere)
    build(asked, lambda step, share: told.append((step, share)))
    assert {step for step, _ in told} == {"exporting"}
    shares = [share for _, share in told]
    assert len(shares) > 3
    assert shares == sorted(shares)
    assert (shares[0], shares[-1] < 1) == (0, True)


def test_torch_can_run_a_model_before_its_graph_is_made(
    vit: Path, small_photos: Path, chelsea: Image.Image, tmp_path: Path
) -> None:
    stand_in = tmp_path / "stand-in"
    seen: list[tuple[str, bool, list[tuple[str, float]]]] = []

    def tell(step: str, share: float) -> None:
        if step == "standing_in":
            graph = any((tmp_path / "cache").rglob("*.onnx"))
            seen.append((read_manifest(stand_in).runtime, graph, labels(stand_in, chelsea)))

    asked = order(vit, tmp_path / "cache", samples=small_photos, stand_in=stand_in)
    folder = build(asked, tell)
    ((runtime, graph_was_there, said),) = seen
    assert (runtime, graph_was_there) == ("torch", False)
    exact = Model.load(folder, preprocessing="exact")
    (outcome,) = exact.infer([Job(encoded(chelsea))])
    assert isinstance(outcome, Inferred) and outcome.answer is not None  # noqa: PT018
    assert [name for name, _ in said] == [label.name for label in outcome.answer.classification.labels]
    assert asyncio.run(prepare(order(stand_in, tmp_path / "cache", "torch"))) == stand_in  # as it is
    shutil.rmtree(stand_in)
    build(asked, tell)  # there is a graph
    build(replace(asked, runtime="torch"), tell)
    assert len(seen) == 1
    assert not stand_in.exists()


def test_a_prepared_model_says_what_it_is_and_is_reused(vit: Path, cache: Path) -> None:
    folder = build(order(vit, cache))
    manifest = read_manifest(folder)
    assert folder == cache / "vit" / manifest.version / "onnx-fp32"
    assert manifest.task == Classification(tuple(f"kind {index}" for index in range(10)), "softmax")
    assert (manifest.runtime, manifest.precision, manifest.fallback_reason) == ("onnx", "fp32", "")
    assert manifest.preferred == "fast"
    assert {"model.onnx", "parity.json", "config.json", "preprocessor_config.json"} <= manifest.files.keys()
    assert "model.safetensors" not in manifest.files
    before = (folder / "model.onnx").stat()
    assert build(order(vit, cache)) == folder
    assert (folder / "model.onnx").stat() == before


def told_of_this_machine(folder: Path) -> list[str]:
    """What of it stands in a folder's graphs, which leave it for the lake and other people's disks."""
    graphs = b"".join(path.read_bytes() for path in folder.glob("*.onnx"))
    assert b"pkg.torch.onnx.name_scopes" in graphs
    places = (Path.cwd(), Path(torch.__file__).parents[1], "site-packages", "stack_trace")
    return [str(place) for place in places if str(place).encode() in graphs]


def test_a_graph_tells_nothing_of_the_machine_that_made_it(vit: Path, cache: Path) -> None:
    assert told_of_this_machine(build(order(vit, cache))) == []


def test_the_graph_agrees_with_torch_alone_and_in_batches(vit: Path, cache: Path) -> None:
    _, parity = made(vit, cache)
    assert parity["images"] >= 15
    for way in ("alone", "in batches of 3"):
        assert parity["graph"][way]["agreement"] == 1.0
        assert parity["graph"][way]["max_absolute_error"] < 1e-4


def test_fast_and_exact_preprocessing_are_compared_at_each_size_of_photo(vit: Path, cache: Path) -> None:
    manifest, parity = made(vit, cache)
    assert parity["preprocessing"].keys() == {"1920x1080", "1280x720", "640x480", "480x640", "320x240"}
    for found in parity["preprocessing"].values():
        assert (found["images"], found["agreement"] >= 0.8) == (5, True)
    assert parity["preprocessing"]["1920x1080"]["max_absolute_error"] > 0  # the JPEG decoder's own scaling
    assert parity["preprocessing"]["320x240"]["max_absolute_error"] < 1  # hardly any, or none
    assert manifest.preferred == "fast"


def test_a_model_that_fast_preprocessing_harms_at_one_size_takes_the_exact_path(
    vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harmed = samples.by_size(None)["1920x1080"][:2]
    prepare = FastPreparer.prepare

    def spoilt(self: FastPreparer, body: bytes, boxes: Any) -> Prepared:
        prepared = prepare(self, body, boxes)
        return replace(prepared, pixels=-prepared.pixels) if body in harmed else prepared

    monkeypatch.setattr(FastPreparer, "prepare", spoilt)
    manifest, parity = made(vit, tmp_path, "torch")
    assert manifest.preprocessing is not None
    assert manifest.preferred == "exact"
    found = dict(parity["preprocessing"])
    assert found.pop("refused") == (
        "the fast one gives 92% of the answers of transformers' own, and 60% at the worst size, 1920x1080"
    )
    assert found.pop("1920x1080")["agreement"] == 0.6
    assert all(others["agreement"] == 1.0 for others in found.values())
    assert Model.load(build(order(vit, tmp_path, "torch"))).preprocessing == "exact"


def test_for_torch_the_prepared_model_is_the_models_own_files(vit: Path, cache: Path) -> None:
    manifest, parity = made(vit, cache, "torch")
    own = {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert manifest.files.keys() == own | {"parity.json"}
    assert "graph" not in parity


def test_a_damaged_model_is_prepared_anew(vit: Path, tmp_path: Path) -> None:
    folder = build(order(vit, tmp_path, "torch"))
    (folder / "config.json").write_text("{}")
    assert build(order(vit, tmp_path, "torch")) == folder
    assert (folder / "config.json").read_bytes() == (vit / "config.json").read_bytes()


def test_a_pinned_model_that_is_prepared_needs_no_hub(vit: Path, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    prepared = build(order(vit, tmp_path, "torch"))
    folder = shutil.copytree(prepared, tmp_path / "owner-model" / commit / "torch-fp32")
    assert build(Order("owner/model", tmp_path, revision=commit, runtime="torch")) == folder


@pytest.mark.parametrize(
    ("options", "activation"),
    [
        ({"problem_type": "multi_label_classification"}, "sigmoid"),
        ({"id2label": {0: "cat"}}, "sigmoid"),
        ({"problem_type": "regression"}, "none"),
    ],
)
def test_scores_are_made_as_the_config_says(options: dict[str, Any], activation: str, tmp_path: Path) -> None:
    manifest, _ = made(tiny.make("vit", tmp_path / "vit", **options), tmp_path, "torch")
    assert isinstance(manifest.task, Classification)
    assert manifest.task.activation == activation


def test_classes_without_names_get_those_of_transformers(tmp_path: Path) -> None:
    source = tiny.make("vit", tmp_path / "vit")
    _edit(source / "config.json", lambda config: config.update(id2label=None, label2id=None, num_labels=10))
    assert made(source, tmp_path, "torch")[0].task.labels[:2] == ("LABEL_0", "LABEL_1")


def test_a_model_of_an_unserved_task_is_refused_with_those_that_are(tmp_path: Path) -> None:
    source = tiny.make("vit", tmp_path / "vit")
    _edit(source / "config.json", lambda config: config.update(architectures=["ViTForDreaming"]))
    with pytest.raises(ConfigurationError, match=r"names ViTForDreaming; served are image-classification"):
        build(order(source, tmp_path))


def test_a_task_that_is_asked_for_goes_before_what_the_config_says(vit: Path, cache: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"task 'dreaming' is not served; served are image-classification"):
        build(order(vit, cache, task="dreaming"))
    folder = build(order(vit, cache, "torch", task="image-classification"))
    assert folder.name == "torch-fp32-image-classification"


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


def test_pickled_weights_are_loaded_where_they_are_allowed(vit: Path, tmp_path: Path, chelsea: Image.Image) -> None:
    from transformers import ViTForImageClassification

    source = shutil.copytree(vit, tmp_path / "vit")
    torch.save(ViTForImageClassification.from_pretrained(source).state_dict(), source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match="FRAMEMESH_MODEL_ALLOW_PICKLE"):
        build(order(source, tmp_path, "torch"))
    folder = build(order(source, tmp_path, "torch", trust=Trust(pickle=True)))
    assert folder.name == "torch-fp32-pickle"
    assert "pytorch_model.bin" in read_manifest(folder).files
    assert labels(folder, chelsea) == labels(build(order(vit, tmp_path, "torch")), chelsea)


OWN_CODE = """
from transformers import ViTConfig, ViTForImageClassification

class OwnConfig(ViTConfig):
    model_type = "own"

class OwnForImageClassification(ViTForImageClassification):
    config_class = OwnConfig

    def forward(self, pixel_values):
        outputs = super().forward(pixel_values)
        outputs.logits = outputs.logits.flip(-1)
        return outputs
"""


def test_a_models_own_code_is_run_only_where_it_is_allowed(
    vit: Path, tmp_path: Path, chelsea: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    source = shutil.copytree(vit, tmp_path / "own")
    (source / "own.py").write_text(OWN_CODE)
    auto_map = {"AutoConfig": "own.OwnConfig", "AutoModelForImageClassification": "own.OwnForImageClassification"}
    _edit(source / "config.json", lambda config: config.update(model_type="own", auto_map=auto_map))
    with pytest.raises(ConfigurationError, match=r"code of its own.*FRAMEMESH_MODEL_TRUST_REMOTE_CODE=true"):
        build(order(source, tmp_path, "torch"))
    assert not (tmp_path / "modules").exists()
    # Of the architectures its config.json names ViT's, as its weights were saved by ViT.
    folder = build(order(source, tmp_path, "torch", trust=Trust(remote_code=True)))
    assert folder.name == "torch-fp32-code"
    assert "own.py" in read_manifest(folder).files
    theirs = labels(build(order(vit, tmp_path, "torch")), chelsea)
    with pytest.raises(ConfigurationError, match="TRUST_REMOTE_CODE"):  # whatever its manifest says
        asyncio.run(prepare(order(folder, tmp_path, "torch")))
    best, _ = labels(folder, chelsea)[0]
    assert best == f"kind {9 - int(theirs[0][0].removeprefix('kind '))}"


def test_a_processor_that_does_more_than_we_do_takes_the_exact_path(tmp_path: Path, chelsea: Image.Image) -> None:
    source = tiny.make("vit", tmp_path / "vit")
    processor = {"image_processor_type": "MobileViTImageProcessor", "do_center_crop": False, "do_normalize": False}
    tiny.make("vit", tmp_path / "plain")
    _edit(source / "preprocessor_config.json", lambda old: old.update(processor, do_flip_channel_order=True))
    _edit(
        tmp_path / "plain" / "preprocessor_config.json", lambda old: old.update(processor, do_flip_channel_order=False)
    )
    manifest, parity = made(source, tmp_path, "torch")
    assert (manifest.preprocessing, manifest.preferred) == (None, "exact")
    assert parity["preprocessing"] == {"refused": "the image processor does what only transformers does"}
    flipping = Model.load(build(order(source, tmp_path, "torch")))
    assert flipping.preprocessing == "exact"
    plain = Model.load(build(order(tmp_path / "plain", tmp_path, "torch")))
    assert plain.preprocessing == "fast"
    swapped = Image.merge("RGB", chelsea.split()[::-1])
    np.testing.assert_allclose(_outputs(flipping, chelsea), _outputs(plain, swapped), atol=1e-5)


def test_a_graph_that_answers_otherwise_is_left_out_and_torch_runs_the_model(
    vit: Path, small_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chelsea: Image.Image
) -> None:
    run = OnnxRuntime.run

    def spoilt(self: OnnxRuntime, pixels: Any) -> Any:
        return {name: np.asarray(output, np.float32) + 0.05 for name, output in run(self, pixels).items()}

    monkeypatch.setattr(OnnxRuntime, "run", spoilt)
    manifest, parity = made(vit, tmp_path, samples=small_photos)
    assert manifest.runtime == "torch"
    assert "onnx was asked for, but the exported graph answers otherwise than torch" in manifest.fallback_reason
    assert "differ by 0.05" in parity["graph"]["refused"]
    assert not list(tmp_path.rglob("model.onnx"))
    assert labels(build(order(vit, tmp_path)), chelsea)


def test_weights_that_are_too_large_for_a_graph_lie_beside_it(
    source: Callable[[str], Path],
    prepared: Callable[..., Path],
    small_photos: Path,
    tmp_path: Path,
    chelsea: Image.Image,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    within = prepared("resnet")
    monkeypatch.setattr(exporting, "_MAX_GRAPH_BYTES", 0)
    beside = build(order(source("resnet"), tmp_path, samples=small_photos))
    manifest = read_manifest(beside)
    assert manifest.runtime == "onnx"
    assert {"model.onnx", "model.onnx.data"} <= manifest.files.keys()
    assert told_of_this_machine(beside) == []
    assert (beside / "model.onnx").stat().st_size < (within / "model.onnx").stat().st_size
    assert [name for name, _ in labels(beside, chelsea)] == [name for name, _ in labels(within, chelsea)]


def test_a_network_that_cannot_be_exported_runs_on_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import ViTForImageClassification

    forward = ViTForImageClassification.forward

    def branching(self: ViTForImageClassification, pixel_values: torch.Tensor) -> Any:
        return forward(self, pixel_values if float(pixel_values.sum()) > 0 else -pixel_values)  # what no graph can say

    monkeypatch.setattr(ViTForImageClassification, "forward", branching)
    manifest, parity = made(tiny.make("vit", tmp_path / "vit"), tmp_path)
    assert manifest.runtime == "torch"
    assert manifest.fallback_reason.startswith("onnx was asked for, but torch can't export it: ")
    assert parity["graph"]["refused"].startswith("torch can't export it: ")
    assert {"model.safetensors", "parity.json"} <= manifest.files.keys()


def test_a_fallback_is_found_again_as_it_was_asked_for(
    vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise exporting.NotExportableError("no")

    monkeypatch.setattr(exporting, "export", refused)
    folder = build(order(vit, tmp_path))
    assert folder.name == "onnx-fp32"
    monkeypatch.setattr(making, "make", refused)
    assert build(order(vit, tmp_path)) == folder


@pytest.mark.parametrize(("least", "precision"), [(0.0, "int8"), (1.01, "fp32")])
def test_int8_serves_only_where_it_gives_the_answers_of_fp32(
    least: float,
    precision: str,
    vit: Path,
    small_photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chelsea: Image.Image,
) -> None:
    monkeypatch.setattr(quantising, "MIN_AGREEMENT", least)
    manifest, report = made(vit, tmp_path, precision="int8", samples=small_photos)
    assert (manifest.runtime, manifest.precision) == ("onnx", precision)
    assert ("int8 was asked for" in manifest.fallback_reason) is (precision == "fp32")
    assert ("recipe" in report["quantisation"]) is (precision == "int8")
    folder = build(order(vit, tmp_path, precision="int8"))
    assert told_of_this_machine(folder) == []
    operators = {node.op_type for node in onnx.load(folder / "model.onnx").graph.node}
    assert ("DynamicQuantizeLinear" in operators) is (precision == "int8")
    assert len(labels(folder, chelsea)) == 5


def test_a_precision_that_the_runtime_does_not_have_is_refused(vit: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="fp16 runs on torch alone"):
        build(order(vit, tmp_path, precision="fp16"))
    with pytest.raises(ConfigurationError, match="int8 runs on ONNX Runtime alone"):
        build(order(vit, tmp_path, "torch", precision="int8"))


def test_a_lower_precision_of_torch_is_compared_with_fp32(vit: Path, tmp_path: Path) -> None:
    manifest, report = made(vit, tmp_path, "torch", precision="bf16")
    assert manifest.precision == "bf16"
    assert 0 < report["precision"]["max_absolute_error"] < 1


def test_a_detector_whose_boxes_would_count_from_padding_is_refused(tmp_path: Path) -> None:
    folder = tiny.make("yolos", tmp_path / "yolos")
    _edit(folder / "preprocessor_config.json", lambda settings: settings.update(pad_size={"height": 128, "width": 128}))
    with pytest.raises(ConfigurationError, match="pad_size"):
        build(order(folder, tmp_path, "torch"))


async def test_two_at_once_make_one_model(vit: Path, tmp_path: Path) -> None:
    argv = ("-m", "model_server.building", "--runtime", "torch", "--cache", str(tmp_path), str(vit))
    both = [await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=asyncio.subprocess.PIPE) for _ in "ab"]
    answers = [(await process.communicate())[0].splitlines()[-1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0] == answers[1]
    folder = Path(json.loads(answers[0])["folder"])
    assert [path.name for path in sorted(folder.parent.iterdir())] == [".torch-fp32.lock", "torch-fp32"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_cache_that_cannot_be_written_is_said(vit: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="FRAMEMESH_MODEL_CACHE"):
        build(order(vit, tmp_path / "cache", "torch"))


def test_a_cache_that_is_a_file_is_said(vit: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(ConfigurationError, match="FRAMEMESH_MODEL_CACHE"):
        build(order(vit, tmp_path / "cache", "torch"))


def _outputs(model: Model, photo: Image.Image) -> Any:
    (outcome,) = model.infer([Job(encoded(photo))])
    assert isinstance(outcome, Inferred)
    return outcome.outputs["logits"]


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
