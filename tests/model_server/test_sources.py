import json
from pathlib import Path

import pytest

from framemesh.errors import ConfigurationError
from model_server import sources
from model_server.sources import StoredModel
from model_server.trust import Trust
from tests.model_server import tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NONE = Trust()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.make("vit", tmp_path / "My ViT")


def names(folder: Path, trust: Trust) -> set[str]:
    return {path.name for path in sources.model_files(folder, trust)}


def test_a_folders_version_is_a_digest_of_what_is_read_of_it(folder: Path) -> None:
    before = sources.fetch(str(folder), "", NONE)
    assert sources.known_version(str(folder), "", NONE) == before.version
    (folder / "README.md").write_text("not read")
    assert sources.fetch(str(folder), "", NONE) == before
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "ViTImageProcessor"}))
    assert sources.fetch(str(folder), "", NONE).version != before.version
    assert before.version.startswith("sha256-")
    assert before.folder == folder


def test_slugs_are_for_people(folder: Path) -> None:
    assert sources.slug(str(folder)) == "my-vit"
    assert sources.slug("google/vit-base-patch16-224") == "google-vit-base-patch16-224"
    assert sources.slug("___") == "model"


def test_only_a_hub_ids_whole_commit_is_a_version_without_asking(folder: Path) -> None:
    assert sources.known_version("google/vit", COMMIT, NONE) == COMMIT
    assert sources.known_version("google/vit", "main", NONE) is None
    assert sources.known_version("google/vit", COMMIT[:7], NONE) is None
    assert sources.known_version(str(folder), COMMIT, NONE) != COMMIT


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        ("config.json", "config.json"),
        ("preprocessor_config.json", "preprocessor_config.json"),
        ("model.safetensors", "safetensors.*save_pretrained"),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused(folder: Path, missing: str, why: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ConfigurationError, match=why):
        sources.fetch(str(folder), "", NONE)


def test_pickled_weights_are_refused_unless_they_are_allowed(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match=r"could run any code.*FRAMEMESH_MODEL_ALLOW_PICKLE=true"):
        sources.fetch(str(folder), "", NONE)
    allowed = sources.fetch(str(folder), "", Trust(pickle=True))
    assert "pytorch_model.bin" in names(allowed.folder, Trust(pickle=True))


def test_weights_that_are_nowhere_are_missed_in_either_form(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"no pytorch_model\.bin either"):
        sources.fetch(str(folder), "", Trust(pickle=True))


def test_pickles_beside_safe_weights_are_not_read_even_where_they_are_allowed(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    assert names(folder, Trust(pickle=True)) == names(folder, NONE)
    assert "model.safetensors" in names(folder, NONE)


def test_code_is_read_only_where_it_is_allowed(folder: Path) -> None:
    (folder / "modeling_own.py").write_text("raise SystemExit")
    assert "modeling_own.py" not in names(folder, NONE)
    assert "modeling_own.py" in names(folder, Trust(remote_code=True))


@pytest.mark.parametrize(
    ("files", "needed"),
    [
        (["model.onnx", "config.json"], Trust()),
        (["model.safetensors"], Trust()),
        (["pytorch_model-00001-of-00002.bin"], Trust(pickle=True)),
        (["modeling_own.py", "model.onnx"], Trust(remote_code=True)),
    ],
)
def test_a_models_files_tell_what_it_must_be_allowed(files: list[str], needed: Trust) -> None:
    assert sources.needed_trust(files) == needed


def test_trust_allows_what_it_names_and_no_more() -> None:
    assert Trust(pickle=True).allows(NONE)
    assert Trust(pickle=True).allows(Trust(pickle=True))
    assert not Trust(pickle=True).allows(Trust(remote_code=True))
    assert not NONE.allows(Trust(pickle=True))


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("/no/such/folder", "no model folder '/no/such/folder'"),
        ("./nowhere", "no model folder"),
        ("owner/name/more", "neither a folder here nor a hub id"),
        ("owner/model", "HF_HUB_OFFLINE"),
    ],
)
def test_a_source_that_is_not_there_is_refused(source: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        sources.fetch(source, "", NONE)


def test_a_model_of_the_lake_has_a_name_and_a_version() -> None:
    model = StoredModel.parse("lake://models/vit-base/2026.11_b-1")
    assert (model.name, model.version) == ("vit-base", "2026.11_b-1")
    assert model.key("model.onnx") == "vit-base/2026.11_b-1/model.onnx"
    assert str(model) == "lake://models/vit-base/2026.11_b-1"


@pytest.mark.parametrize(
    "url",
    [
        "lake://models/",
        "lake://models/vit",
        "lake://models/vit/",
        "lake://models/vit/v1/model.onnx",
        "lake://models/../v1",
        "lake://models/vit/..",
        "lake://models/Vit/v1",
        "lake://models/vit/v 1",
        "lake://models/" + "a" * 41 + "/v1",
        "lake://frames/vit/v1",
    ],
)
def test_what_names_no_model_of_the_lake_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="lake://models/<name>/<version>"):
        StoredModel.parse(url)
