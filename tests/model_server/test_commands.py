"""`framemesh export` and `framemesh bench` as a user runs them, on a small model."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from framemesh.lake import Lake
from framemesh.mesh.joining import MeshState, write_state
from model_server.artifacts import read_manifest
from model_server.building import Order, build


async def command(*words: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "framemesh", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_model_is_exported_and_its_parity_shown(vit: Path, cache: Path) -> None:
    folder = build(Order(str(vit), cache))
    code, out, _ = await command("export", str(vit), "--cache", str(cache))
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "image-classification on onnx fp32, fast preprocessing"
    assert [line[:24].rstrip() for line in lines[2:5]] == [
        "graph, alone", "graph, in batches of 3", "preprocessing, 1920x1080"
    ]  # fmt: skip
    assert "100.0%" in lines[2]
    assert lines[-1] == f"prepared in {folder}"
    code, out, _ = await command("export", str(vit), "--cache", str(cache), "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["folder"], found["runtime"], found["fallback_reason"]) == (str(folder), "onnx", "")
    assert found["parity"] == json.loads((folder / "parity.json").read_text())


async def test_every_option_reaches_the_program(vit: Path, tmp_path: Path, photos: Path) -> None:
    source = shutil.copytree(vit, tmp_path / "source")
    (source / "own.py").write_text("")
    (tmp_path / "samples").mkdir()
    shutil.copy(photos / "coffee.png", tmp_path / "samples")
    code, out, _ = await command(
        "export", str(source), "--cache", str(tmp_path), "--runtime", "torch", "--precision", "bf16",
        "--task", "image-classification", "--revision", "unused", "--samples", str(tmp_path / "samples"),
        "--allow-pickle", "--trust-remote-code", "--json",
    )  # fmt: skip
    found = json.loads(out)
    assert code == 0
    assert Path(found["folder"]).name == "torch-bf16-image-classification-pickle-code"
    manifest = read_manifest(Path(found["folder"]))
    assert (manifest.trust.pickle, manifest.trust.remote_code, manifest.precision) == (True, True, "bf16")
    assert found["parity"]["images"] == 1


async def test_a_model_is_put_into_the_lake_of_the_mesh_that_runs(
    vit: Path, cache: Path, tmp_path: Path, s3: dict[str, str], lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = (s3["FRAMEMESH_S3_ENDPOINT"], s3["FRAMEMESH_S3_ACCESS_KEY"], s3["FRAMEMESH_S3_SECRET_KEY"])
    write_state(tmp_path, MeshState("127.0.0.1:1", "nats://n", *keys, http={}, processes={}))
    here = ("--data-dir", str(tmp_path))
    code, out, err = await command("export", str(vit), "--cache", str(cache), "--upload", "lake://models/vit/v1", *here)
    assert code == 0, err
    assert out.splitlines()[-1].endswith("and stored as lake://models/vit/v1")
    # Another machine has nothing but the lake.
    code, out, err = await command("export", "lake://models/vit/v1", *here, "--json")
    assert code == 0, err
    assert json.loads(out)["folder"] == str(tmp_path / "models" / "prepared" / "vit" / "v1" / "lake")
    code, _, err = await command("export", str(vit), "--cache", str(cache), "--upload", "lake://models/vit/v2")
    assert code == 78
    assert "set FRAMEMESH_S3_ENDPOINT" in err


@pytest.mark.parametrize(
    ("words", "code", "names"),
    [
        (("./no/such/folder",), 78, "there is no folder './no/such/folder'"),
        (("demo:nothing",), 78, "no demo model"),
        (("owner/model",), 78, "HF_HUB_OFFLINE"),
        (("owner/model", "--precision", "int8", "--runtime", "torch"), 1, "int8"),
        (("owner/model", "--upload", "s3://elsewhere"), 78, "lake://models/<name>/<version>"),
    ],
)
async def test_what_cannot_be_exported_says_why(words: tuple[str, ...], code: int, names: str, tmp_path: Path) -> None:
    returned, out, err = await command("export", *words, "--cache", str(tmp_path))
    assert (returned, out) == (code, "")
    assert names in err.splitlines()[-1]


async def test_a_server_is_started_measured_and_stopped(vit: Path, cache: Path, tmp_path: Path) -> None:
    short = ("--seconds", "0.5", "--concurrency", "1,4", "--rate", "20")
    code, out, err = await command("bench", f"tiny={vit}", "--cache", str(cache), *short, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["server"]["model"], found["server"]["task"]) == ("tiny", "image-classification")
    assert [load["load"] for load in found["loads"]] == ["1 at once", "4 at once", "20 a second"]
    for load in found["loads"]:
        assert load["answers"] > 5
        assert load["errors"] == {}
        assert 0 < load["latency_seconds"]["p50"] <= load["latency_seconds"]["p90"] <= load["latency_seconds"]["p99"]
    left = [process for process in psutil.process_iter(["environ"]) if str(vit) in str(process.info["environ"])]
    assert not left


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    code, out, err = await command("bench", f"empty={tmp_path}", "--cache", str(tmp_path / "cache"))
    assert (code, out) == (78, "")
    assert "has no weights as safetensors" in err


CLIENT_ALONE = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "model_server" else found(name, *rest)
from framemesh.cli import main
main()
"""


@pytest.mark.parametrize("words", [("export", "a/b"), ("bench", "a/b")])
def test_a_client_alone_is_told_what_it_lacks(words: tuple[str, str]) -> None:
    argv = [sys.executable, "-c", CLIENT_ALONE, *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78
    assert f"`framemesh {words[0]}` needs model_server" in done.stderr
