import json
from pathlib import Path

import pytest

from framemesh.errors import ConfigurationError
from model_server import sources
from tests.model_server import tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.make("vit", tmp_path / "My ViT")


def test_a_folders_version_is_a_digest_of_what_is_read_of_it(folder: Path) -> None:
    before = sources.fetch(str(folder), "")
    (folder / "README.md").write_text("not read")
    assert sources.fetch(str(folder), "") == before
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "ViTImageProcessor"}))
    assert sources.fetch(str(folder), "").version != before.version
    assert before.version.startswith("sha256-")
    assert before.folder == folder


def test_slugs_are_for_people(folder: Path) -> None:
    assert sources.slug(str(folder)) == "my-vit"
    assert sources.slug("google/vit-base-patch16-224") == "google-vit-base-patch16-224"
    assert sources.slug("___") == "model"


def test_only_a_hub_ids_whole_commit_is_a_version_without_asking(folder: Path) -> None:
    assert sources.pinned_version("google/vit", COMMIT) == COMMIT
    assert sources.pinned_version("google/vit", "main") is None
    assert sources.pinned_version("google/vit", COMMIT[:7]) is None
    assert sources.pinned_version(str(folder), COMMIT) is None


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
        sources.fetch(str(folder), "")


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match="could run any code"):
        sources.fetch(str(folder), "")


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
        sources.fetch(source, "")
