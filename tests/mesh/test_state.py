import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from framemesh.errors import ConfigurationError
from framemesh.mesh.joining import MESH_FILE, MeshState, read_state, write_state
from framemesh.mesh.state import PROCESSES_FILE, credentials, locked, write_processes
from framemesh.query import LakePlace


def state(**processes: int) -> MeshState:
    return MeshState("127.0.0.1:1", "nats://u:p@127.0.0.1:2", "http://127.0.0.1:3", "key", "secret", {}, processes)


def test_the_state_reads_back_and_only_its_owner_may(tmp_path: Path) -> None:
    write_state(tmp_path, state(mesh=1))
    assert read_state(tmp_path) == state(mesh=1)
    assert stat.S_IMODE((tmp_path / MESH_FILE).stat().st_mode) == 0o600


def test_what_opens_the_gateway_is_told_only_where_it_is_needed() -> None:
    assert "TOKEN" not in state().shell_exports()
    closed = replace(state(), token="t" * 32, tls_ca_file="/etc/my ca's.crt").shell_exports()
    assert f"export FRAMEMESH_TOKEN={'t' * 32}\n" in closed
    assert """export FRAMEMESH_TLS_CA_FILE='/etc/my ca'"'"'s.crt'""" in closed


def test_other_programs_are_told_of_a_lake_with_names_of_its_own() -> None:
    elsewhere = replace(state(), s3_region="eu-west-1", s3_frames_bucket="plant-7", s3_models_bucket="plant-7-models")
    exports = dict(line.removeprefix("export ").split("=") for line in elsewhere.shell_exports().splitlines())
    place = LakePlace.from_environment(exports)
    assert (place.region, place.frames_bucket) == ("eu-west-1", "plant-7")
    assert exports["FRAMEMESH_S3_MODELS_BUCKET"] == "plant-7-models"


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", "not json"])
def test_a_missing_or_damaged_state_is_no_state(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / MESH_FILE).write_text(content)
    assert read_state(tmp_path) is None


def test_exports_can_be_evaluated_by_a_shell(tmp_path: Path) -> None:
    script = state().shell_exports() + '\necho "$FRAMEMESH_NATS_URL $FRAMEMESH_ADDRESS"'
    out = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert out.stdout == "nats://u:p@127.0.0.1:2 127.0.0.1:1\n"


def test_a_second_mesh_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(ConfigurationError, match="already"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_what_a_killed_mesh_left_running_is_ended_at_the_next_start(tmp_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    write_processes(tmp_path, {"left": left.pid})
    with locked(tmp_path):
        assert not psutil.pid_exists(left.pid)
    left.wait()


def test_a_stranger_that_got_an_old_number_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        write_processes(tmp_path, {"left": stranger.pid})
        os.utime(tmp_path / PROCESSES_FILE, (1, 1))  # written long before that process began
        with locked(tmp_path):
            assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_credentials_are_made_once_and_are_nobody_elses_to_read(tmp_path: Path) -> None:
    first = credentials(tmp_path, "nats", "framemesh")
    assert first == credentials(tmp_path, "nats", "framemesh")
    assert first != credentials(tmp_path, "s3", "framemesh")
    assert len(first.password) == 32
    assert stat.S_IMODE((tmp_path / "nats.secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "[]", "nonsense", '{"a": "abc", "b": -1, "c": 1, "d": null}'])
def test_a_damaged_list_of_processes_ends_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / PROCESSES_FILE).write_text(content)
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("content", [b"", b"short", b"\xff\xfe", b"a@b:c/d"])
def test_a_password_that_somebody_changed_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "nats.secret").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"nats\.secret"):
        credentials(tmp_path, "nats", "framemesh")
