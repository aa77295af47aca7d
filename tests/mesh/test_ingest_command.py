"""`framemesh ingest` as a user types it, and the cameras of `framemesh up` before anything starts."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from framemesh.bus import Bus
from framemesh.cli import app
from framemesh.errors import EXIT_CONFIGURATION, FramemeshError
from tests.ingest.media import jpeg
from tests.ingest.watching import number_stored, until

COMMAND = (sys.executable, "-m", "framemesh")
BROKEN = "cameras:\n  - {name: gate.1, source: a.mp4}\n  - {name: door, source: a.mp4, qualty: 70}\n"
MISTAKES = (
    "cameras.yaml:2:12: camera 'gate.1': name: 'gate.1' can't name a camera",
    "cameras.yaml:3:33: camera 'door': there is no setting qualty; did you mean quality?",
)


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replaced(*_: object) -> NoReturn:
        pytest.fail("the agent would have been started in place of the tests")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr("framemesh.cli.ingest.os.execve", replaced)


def refused(*words: str) -> str:
    """What is said of a command that can't work."""
    with pytest.raises(FramemeshError) as caught:
        CliRunner().invoke(app, words, catch_exceptions=False)
    return str(caught.value)


def test_a_sound_file_is_told_with_its_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR", "rtsp://viewer:hunter2@10.0.0.7")
    (tmp_path / "cameras.yaml").write_text("cameras: [{name: gate, source: a.mp4}, {name: door, source: '${DOOR}'}]")
    asked = CliRunner().invoke(app, ["ingest", "check", "cameras.yaml"])
    assert (asked.exit_code, asked.output) == (0, "cameras.yaml: 2 cameras: gate, door\n")


def test_each_mistake_of_a_file_is_told_at_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cameras.yaml").write_text(BROKEN)
    asked = CliRunner().invoke(app, ["ingest", "check", "cameras.yaml"])
    assert asked.exit_code == EXIT_CONFIGURATION
    for line, mistake in zip(asked.output.splitlines(), MISTAKES, strict=True):
        assert line.startswith(mistake)
    monkeypatch.setenv("FRAMEMESH_NATS_URL", "nats://127.0.0.1:1")
    told = refused("ingest", "run", "--cameras", "cameras.yaml")
    assert all(mistake in told for mistake in MISTAKES)


def test_a_mesh_does_not_start_with_cameras_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "cameras.yaml").write_text(BROKEN)
    words = ("up", "--data-dir", "data", "--cameras", "cameras.yaml")
    asked = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, check=False)
    assert asked.returncode == EXIT_CONFIGURATION
    assert all(mistake in asked.stderr for mistake in MISTAKES)
    assert not list((tmp_path / "data" / "logs").glob("nats*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "either in a file, --cameras cameras.yaml, or with --camera NAME=SOURCE"),
        (("--cameras", "a.yaml", "--camera", "gate=a.mp4"), "either in a file"),
        (("--cameras", "a.yaml", "--fps", "5"), "write it into a.yaml"),
        (("--camera", "gate"), "NAME=SOURCE"),
        (("--camera", "yard/north=rtsp://10.0.0.7"), "'yard/north' can't name a camera"),
        (("--camera", "gate=nowhere.mp4"), "camera 'gate': there is no 'nowhere.mp4'"),
        (("--camera", "gate=rtsp://10.0.0.7"), "set FRAMEMESH_NATS_URL, or start a mesh"),
    ],
)
def test_what_can_not_run_says_why(words: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRAMEMESH_NATS_URL", raising=False)
    assert told in refused("ingest", "run", *words)


async def test_cameras_run_until_a_signal(nats: str, bus: Bus, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg())
    words = ("ingest", "run", "--camera", "yard=photos", "--fps", "20")
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *words, env=os.environ | {"FRAMEMESH_NATS_URL": nats}, stderr=subprocess.PIPE
    )
    try:

        async def sends() -> bool:
            return await number_stored(bus, "yard") >= 3

        await until(sends, seconds=60)
        assert (tmp_path / "framemesh-data" / "spill" / "yard").is_dir()
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            _, log = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, log
    assert b"service.stopped" in log
