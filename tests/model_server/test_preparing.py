import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from framemesh.errors import ConfigurationError, InternalError, ModelUnavailableError
from model_server.artifacts import read_manifest
from model_server.preparing import prepare
from tests.model_server.hub import COMMIT, Hub, hub


@pytest.fixture
async def served(vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    """A hub that has the small ViT, for processes that are started from now on."""
    async with hub(vit) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        yield served


async def test_a_hub_id_is_downloaded_by_its_commit(served: Hub, vit: Path, tmp_path: Path) -> None:
    (vit / "pytorch_model.bin").write_bytes(b"pickle")
    try:
        folder = await prepare("owner/model", revision="main", runtime="torch", cache=tmp_path)
    finally:
        (vit / "pytorch_model.bin").unlink()
    assert folder == tmp_path / "owner-model" / COMMIT / "torch"
    assert read_manifest(folder).version == COMMIT
    assert sorted(served.downloaded) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    again = await prepare("owner/model", revision="", runtime="torch", cache=tmp_path)
    assert again == folder
    assert len(served.downloaded) == 3


@pytest.mark.parametrize(
    ("model", "revision", "why"),
    [
        ("owner/other", "", "nor known at the hub"),
        ("owner/gated", "", "is gated.*HF_TOKEN"),
        ("owner/model", "v2", "no revision 'v2'"),
    ],
)
async def test_what_the_hub_will_not_give_is_said(
    served: Hub, tmp_path: Path, model: str, revision: str, why: str
) -> None:
    with pytest.raises(ConfigurationError, match=why):
        await prepare(model, revision=revision, runtime="torch", cache=tmp_path)
    assert served.downloaded == []


async def test_a_hub_that_does_not_answer_may_answer_later(
    served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelUnavailableError, match="can't be downloaded"):
        await prepare("owner/model", revision="", runtime="torch", cache=tmp_path)


async def test_cancelled_it_kills_the_process(vit: Path, tmp_path: Path) -> None:
    preparing = asyncio.create_task(prepare(str(vit), revision="", runtime="onnx", cache=tmp_path))
    while not (children := psutil.Process().children()):
        await asyncio.sleep(0.01)
    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preparing
    assert not any(child.is_running() for child in children)
    assert not list(tmp_path.rglob("manifest.json"))


async def test_a_process_that_is_killed_is_a_fault(vit: Path, tmp_path: Path) -> None:
    preparing = asyncio.create_task(prepare(str(vit), revision="", runtime="onnx", cache=tmp_path))
    while not (children := psutil.Process().children()):
        await asyncio.sleep(0.01)
    children[0].kill()
    with pytest.raises(InternalError, match="-9"):
        await preparing
