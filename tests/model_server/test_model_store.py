import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import SecretStr

from framemesh.errors import ConfigurationError, LakeUnavailableError
from framemesh.lake import Lake
from framemesh.mesh.servers import free_port
from framemesh.settings import ModelStoreSettings
from framemesh.v1.inference_service_pb2 import GetModelMetadataRequest, InferRequest
from model_server import model_store
from model_server.artifacts import read_manifest
from model_server.building import Order, build, publish, upload
from model_server.preparing import prepare
from model_server.sources import StoredModel
from model_server.trust import Trust
from tests.conftest import CREDENTIALS
from tests.model_server.servers import encoded, serving, settings
from tests.stores import STORES


@pytest.fixture(scope="module", params=STORES)
def s3_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def store(s3: dict[str, str]) -> ModelStoreSettings:
    return ModelStoreSettings(
        s3_endpoint=s3["FRAMEMESH_S3_ENDPOINT"],
        s3_access_key=SecretStr(s3["FRAMEMESH_S3_ACCESS_KEY"]),
        s3_secret_key=SecretStr(s3["FRAMEMESH_S3_SECRET_KEY"]),
    )


@pytest.fixture(scope="module")
async def models(store: ModelStoreSettings) -> AsyncIterator[Lake]:
    """The bucket of models, as the store's own code opens it."""
    async with model_store._open(StoredModel("any", "v1"), store) as lake:
        yield lake


@pytest.fixture(scope="module")
def folder(vit: Path, cache: Path) -> Path:
    return build(Order(str(vit), cache))


async def put(folder: Path, url: str, store: ModelStoreSettings) -> StoredModel:
    await asyncio.to_thread(upload, folder, url, store)
    return StoredModel.parse(url)


async def fetch(url: str, cache: Path, store: ModelStoreSettings, **options: Any) -> Path:
    return await asyncio.to_thread(build, Order(url, cache, store=store, **options))


async def test_a_model_is_served_from_the_lake(
    folder: Path, store: ModelStoreSettings, models: Lake, tmp_path: Path, chelsea: Image.Image
) -> None:
    await put(folder, "lake://models/vit/v1", store)
    names = {path.name for path in folder.iterdir()}
    assert await models.keys("vit/") == sorted(f"vit/v1/{name}" for name in names)
    own = store.model_dump()
    async with serving(settings(Path("unused"), tmp_path, model_source="lake://models/vit/v1", **own)) as client:
        described = await client.stub.GetModelMetadata(GetModelMetadataRequest())
        assert described.model_version == read_manifest(folder).version
        assert (described.source, described.runtime) == ("lake://models/vit/v1", "onnx")
        answer = await client.stub.Infer(InferRequest(image=encoded(chelsea)), timeout=20)
        assert len(answer.answer.classification.labels) == 5
    # Once it is here, neither the lake nor where it is matters any more.
    assert await prepare(Order("lake://models/vit/v1", tmp_path)) == tmp_path / "vit" / "v1" / "lake"
    assert {path.name for path in (tmp_path / "vit" / "v1" / "lake").iterdir()} == names


async def test_who_shares_the_cache_of_what_was_published_fetches_nothing(
    folder: Path, vit: Path, cache: Path, store: ModelStoreSettings
) -> None:
    published = await asyncio.to_thread(publish, Order(str(vit), cache, store=store), "shared")
    here = await prepare(Order(str(published.stored), cache))  # not told where the lake is
    assert {path.name: path.read_bytes() for path in here.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


async def test_a_damaged_copy_is_fetched_again(folder: Path, store: ModelStoreSettings, tmp_path: Path) -> None:
    await put(folder, "lake://models/vit/v1", store)
    here = await fetch("lake://models/vit/v1", tmp_path, store)
    (here / "model.onnx").write_bytes(b"")
    assert (await fetch("lake://models/vit/v1", tmp_path, store) / "model.onnx").read_bytes() == (
        folder / "model.onnx"
    ).read_bytes()


async def test_a_flipped_byte_is_refused_with_the_files_name(
    folder: Path, store: ModelStoreSettings, models: Lake, tmp_path: Path
) -> None:
    model = await put(folder, "lake://models/vit/flipped", store)
    body = bytearray((folder / "model.onnx").read_bytes())
    body[len(body) // 2] ^= 1
    await models.put(model.key("model.onnx"), bytes(body), content_type="application/octet-stream", metadata={})
    with pytest.raises(ConfigurationError, match=r"model\.onnx of lake://models/vit/flipped is damaged: its SHA-256"):
        await fetch(str(model), tmp_path, store)
    assert not list(tmp_path.rglob("*.onnx"))


async def test_a_missing_file_is_refused_with_its_name(
    folder: Path, store: ModelStoreSettings, models: Lake, tmp_path: Path
) -> None:
    model = await put(folder, "lake://models/vit/missing", store)
    await models.delete(model.key("parity.json"))
    with pytest.raises(ConfigurationError, match=r"parity\.json of lake://models/vit/missing is missing"):
        await fetch(str(model), tmp_path, store)


async def test_half_an_upload_is_no_model_until_it_is_ended(
    folder: Path, store: ModelStoreSettings, models: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_file = Lake.put_file

    async def failing(self: Lake, key: str, path: Path) -> None:
        if path.name == "preprocessor_config.json":
            raise LakeUnavailableError("cut off")
        await put_file(self, key, path)

    monkeypatch.setattr(Lake, "put_file", failing)
    with pytest.raises(LakeUnavailableError):
        await put(folder, "lake://models/vit/half", store)
    assert await models.keys("vit/half/")
    with pytest.raises(ConfigurationError, match="no model lake://models/vit/half, or its upload never ended"):
        await fetch("lake://models/vit/half", tmp_path, store)
    monkeypatch.undo()
    await put(folder, "lake://models/vit/half", store)
    await fetch("lake://models/vit/half", tmp_path, store)


async def test_a_version_never_changes(folder: Path, vit: Path, cache: Path, store: ModelStoreSettings) -> None:
    await put(folder, "lake://models/vit/fixed", store)
    await put(folder, "lake://models/vit/fixed", store)  # the same again does no harm
    other = await asyncio.to_thread(build, Order(str(vit), cache, runtime="torch"))
    with pytest.raises(ConfigurationError, match="lake://models/vit/fixed is there already, with other content"):
        await put(other, "lake://models/vit/fixed", store)


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({"files": {"../../evil": "0"}}, "names '../../evil', which is no file of a model"),
        ({"files": {"manifest.json": "0"}}, "names 'manifest.json'"),
        ({"format": 1}, "another version of framemesh"),
        ({"task": {"name": "dreaming"}}, "damaged, or of another version"),
        ({"files": {"pytorch_model.bin": "0"}}, "can run any code.*FRAMEMESH_MODEL_ALLOW_PICKLE=true"),
        ({"files": {"own.py": "0"}}, "can run any code.*FRAMEMESH_MODEL_TRUST_REMOTE_CODE=true"),
    ],
)
async def test_a_manifest_that_cannot_be_trusted_is_refused(
    manifest: dict[str, Any], why: str, folder: Path, store: ModelStoreSettings, models: Lake, tmp_path: Path
) -> None:
    forged = {**json.loads((folder / "manifest.json").read_text()), **manifest}
    body = json.dumps(forged).encode()
    await models.put("forged/v1/manifest.json", body, content_type="application/json", metadata={})
    with pytest.raises(ConfigurationError, match=why):
        await fetch("lake://models/forged/v1", tmp_path, store)
    assert not list(tmp_path.rglob("manifest.json"))


async def test_a_copy_that_another_server_was_trusted_with_needs_the_same_trust(
    folder: Path, tmp_path: Path, store: ModelStoreSettings
) -> None:
    here = shutil.copytree(folder, tmp_path / "own" / "v1" / "lake")
    manifest = json.loads((here / "manifest.json").read_text())
    (here / "own.py").write_bytes(b"")
    manifest["files"]["own.py"] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (here / "manifest.json").write_text(json.dumps(manifest))
    assert await fetch("lake://models/own/v1", tmp_path, store, trust=Trust(remote_code=True)) == here
    with pytest.raises(ConfigurationError, match="FRAMEMESH_MODEL_TRUST_REMOTE_CODE"):
        await fetch("lake://models/own/v1", tmp_path, store)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"runtime": "torch"}, "exported with runtime onnx, not torch"),
        ({"precision": "int8"}, "exported with precision fp32, not int8"),
        ({"task": "object-detection"}, "exported with task image-classification, not object-detection"),
    ],
)
async def test_a_stored_model_that_is_not_what_was_asked_for_is_refused(
    options: dict[str, Any], why: str, folder: Path, store: ModelStoreSettings, tmp_path: Path
) -> None:
    await put(folder, "lake://models/vit/v1", store)
    for _ in ("in the lake", "and here"):
        with pytest.raises(ConfigurationError, match=why):
            await fetch("lake://models/vit/v1", tmp_path, store, **options)
        await fetch("lake://models/vit/v1", tmp_path, store)


async def test_without_the_lakes_settings_they_are_named(folder: Path, tmp_path: Path) -> None:
    known = ModelStoreSettings(s3_endpoint="http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match=r"set FRAMEMESH_S3_ACCESS_KEY, FRAMEMESH_S3_SECRET_KEY$"):
        await fetch("lake://models/vit/v1", tmp_path, known)
    with pytest.raises(ConfigurationError, match="FRAMEMESH_S3_ENDPOINT"):
        await put(folder, "lake://models/vit/v1", ModelStoreSettings())


async def test_wrong_credentials_are_for_the_operator_to_mend(
    store: ModelStoreSettings, models: Lake, tmp_path: Path
) -> None:
    wrong = store.model_copy(update={"s3_secret_key": SecretStr("wrong")})
    with pytest.raises(ConfigurationError, match="S3 keys"):
        await fetch("lake://models/vit/v1", tmp_path, wrong)


async def test_a_lake_that_is_not_there_may_come_later(store: ModelStoreSettings, tmp_path: Path) -> None:
    gone = store.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(LakeUnavailableError, match="can't be reached"):
        await fetch("lake://models/vit/v1", tmp_path, gone)


async def test_the_program_prepares_and_uploads(
    vit: Path, cache: Path, folder: Path, store: ModelStoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in store.variables().items():
        monkeypatch.setenv(name, value)
    assert CREDENTIALS.password in store.variables().values()

    async def program(*arguments: str) -> tuple[int | None, dict[str, str]]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "model_server.building", *arguments, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return process.returncode, json.loads(output.splitlines()[-1])

    code, answer = await program(str(vit), "--cache", str(cache), "--upload", "lake://models/program/v1")
    assert (code, answer) == (0, {"folder": str(folder)})
    code, answer = await program("lake://models/program/v1", "--cache", str(tmp_path))
    assert (code, answer) == (0, {"folder": str(tmp_path / "program" / "v1" / "lake")})
    code, answer = await program(str(vit), "--cache", str(cache), "--upload", "lake://elsewhere/v1")
    assert code == 78
    assert "lake://models/<name>/<version>" in answer["error"]
