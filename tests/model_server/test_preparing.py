import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from framemesh.errors import ConfigurationError, InternalError, ModelUnavailableError
from model_server.artifacts import read_manifest
from model_server.building import Order
from model_server.preparing import prepare
from model_server.trust import Trust
from tests.model_server.hub import COMMIT, TOKEN, Hub, hub


@pytest.fixture
async def served(vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    """A hub that has the small ViT, for processes that are started from now on."""
    async with hub(vit) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        yield served


def order(source: str, cache: Path, **options: Any) -> Order:
    return Order(source, cache, **{"runtime": "torch", **options})


async def test_a_hub_id_is_downloaded_by_its_commit(
    served: Hub, vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (vit / "pytorch_model.bin").write_bytes(b"pickle")
    (vit / "modeling_own.py").write_text("raise SystemExit")
    try:
        folder = await prepare(order("owner/model", tmp_path, revision="main"))
    finally:
        (vit / "pytorch_model.bin").unlink()
        (vit / "modeling_own.py").unlink()
    assert folder == tmp_path / "owner-model" / COMMIT / "torch-fp32"
    assert read_manifest(folder).version == COMMIT
    assert sorted(served.downloaded) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    progress = [json.loads(line) for line in capfd.readouterr().err.splitlines() if '"model.downloading"' in line]
    assert progress
    for line in progress:
        assert line["source"] == "owner/model"
        assert 0 < line["downloaded_bytes"] <= line["total_bytes"]
        assert line["fraction"] == round(line["downloaded_bytes"] / line["total_bytes"], 3)
    # Neither is needed again: not the files, nor, with a commit or offline, the hub.
    assert await prepare(order("owner/model", tmp_path)) == folder
    assert len(served.downloaded) == 3
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert await prepare(order("owner/model", tmp_path, revision=COMMIT)) == folder
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert await prepare(order("owner/model", tmp_path, revision="main")) == folder


async def test_a_download_that_breaks_is_taken_up_where_it_broke(served: Hub, vit: Path, tmp_path: Path) -> None:
    large = vit / "more.safetensors"
    large.write_bytes(os.urandom(1 << 20) * 24)  # the hub's library keeps every whole 10 MB
    served.breaking.add(large.name)
    try:
        folder = await prepare(order("owner/model", tmp_path))
        assert served.resumed == [large.name]
        assert (folder / large.name).read_bytes() == large.read_bytes()
    finally:
        large.unlink()


async def test_pickled_weights_are_downloaded_only_where_they_are_allowed_and_needed(
    served: Hub, vit: Path, tmp_path: Path
) -> None:
    state = load_file(vit / "model.safetensors")
    torch.save(state, vit / "pytorch_model.bin")
    (vit / "model.safetensors").rename(vit / "aside")
    try:
        with pytest.raises(ConfigurationError, match="FRAMEMESH_MODEL_ALLOW_PICKLE"):
            await prepare(order("owner/model", tmp_path))
        assert "pytorch_model.bin" not in served.downloaded
        folder = await prepare(order("owner/model", tmp_path, trust=Trust(pickle=True)))
        assert "pytorch_model.bin" in read_manifest(folder).files
    finally:
        (vit / "pytorch_model.bin").unlink()
        (vit / "aside").rename(vit / "model.safetensors")


async def test_a_private_model_needs_the_token_of_the_environment(
    served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigurationError, match="HF_TOKEN"):
        await prepare(order("owner/private", tmp_path))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    folder = await prepare(order("owner/private", tmp_path))
    assert read_manifest(folder).version == COMMIT
    assert TOKEN not in "".join(capfd.readouterr())


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
        await prepare(order(model, tmp_path, revision=revision))
    assert served.downloaded == []


async def test_a_hub_that_does_not_answer_may_answer_later(
    served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelUnavailableError, match="can't be downloaded"):
        await prepare(order("owner/model", tmp_path))


async def test_cancelled_it_kills_the_process(vit: Path, tmp_path: Path) -> None:
    others = psutil.Process().children()
    preparing = asyncio.create_task(prepare(Order(str(vit), tmp_path)))
    child = await _new_child(others)
    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preparing
    assert not child.is_running()
    assert not list(tmp_path.rglob("manifest.json"))


async def test_a_process_that_is_killed_is_a_fault(vit: Path, tmp_path: Path) -> None:
    others = psutil.Process().children()
    preparing = asyncio.create_task(prepare(Order(str(vit), tmp_path)))
    (await _new_child(others)).kill()
    with pytest.raises(InternalError, match="-9"):
        await preparing


async def _new_child(others: list[psutil.Process]) -> psutil.Process:
    """The process that this one has started since."""
    while not (children := [child for child in psutil.Process().children() if child not in others]):
        await asyncio.sleep(0.01)
    return children[0]
