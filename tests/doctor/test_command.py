"""The command as people and programs run it."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from framemesh.bus import Bus
from framemesh.doctor.examining import examine
from framemesh.doctor.places import places
from framemesh.mesh.joining import MeshState, write_state
from framemesh.mesh.servers import HOST, free_port, nats_url
from tests.conftest import CREDENTIALS

OURS = ("FRAMEMESH_NATS_URL", "FRAMEMESH_S3_ENDPOINT", "FRAMEMESH_ADDRESS")


async def doctor(*arguments: str, **variables: str) -> tuple[int, str]:
    """Its exit code, and all that it prints."""
    env = {name: value for name, value in os.environ.items() if name not in OURS}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "framemesh", "doctor", *arguments, env={**env, **variables},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()


def by_check(printed: str) -> dict[str, dict[str, Any]]:
    return {found["check"]: found for found in map(json.loads, printed.splitlines())}


async def test_before_a_mesh_is_started_it_says_what_would_keep_one_from_running(tmp_path: Path) -> None:
    code, printed = await doctor("--json", "--data-dir", str(tmp_path / "data"), "--port", str(free_port()))
    found = by_check(printed)
    assert code == 0, printed
    assert list(found) == [
        "Python", "packages", "programs", "ports", "memory", "data directory", "disk space", "filesystem", "syncs",
    ]  # fmt: skip
    assert not (tmp_path / "data").exists()


async def test_of_a_mesh_that_runs_it_looks_at_all_and_tells_no_secret(
    tmp_path: Path, address: str, nats: str, s3: dict[str, str]
) -> None:
    state = MeshState(
        address=address,
        nats_url=nats,
        s3_endpoint=s3["FRAMEMESH_S3_ENDPOINT"],
        s3_access_key=s3["FRAMEMESH_S3_ACCESS_KEY"],
        s3_secret_key=s3["FRAMEMESH_S3_SECRET_KEY"],
        http={},
        processes={"mesh": os.getpid()},
    )
    write_state(tmp_path, state)
    code, printed = await doctor("--json", "--data-dir", str(tmp_path))
    found = by_check(printed)
    assert code == 0, printed
    assert {one["state"] for one in found.values()} <= {"fine", "advice"}
    assert {
        "secrets", "NATS", "NATS version", "NATS credentials", "streams", "stream of frames", "NATS clock", "S3",
        "S3 clock", "S3 keys", "S3 objects", "gateway", "mesh", "camera clocks", "processes",
    } <= set(found)  # fmt: skip
    assert CREDENTIALS.password not in printed


async def test_of_servers_elsewhere_it_says_what_is_wrong_and_how_to_mend_it(
    nats: str, s3: dict[str, str], bus: Bus
) -> None:
    port = int(nats.rpartition(":")[2])
    wrong = nats_url(port, type(CREDENTIALS)(CREDENTIALS.user, "not-the-password"))
    nobody = f"{HOST}:{free_port()}"
    code, printed = await doctor(
        "--address", nobody, FRAMEMESH_NATS_URL=wrong, **{**s3, "FRAMEMESH_S3_SECRET_KEY": "not-the-key"}
    )
    assert code == 1
    assert "NATS credentials" in printed
    assert "refuses the credentials" in printed
    assert "the server refuses the keys with status 403 -> correct the S3 keys" in printed
    assert f"gateway: {nobody}: Connection refused -> start a gateway" in printed
    assert printed.endswith("3 wrong\n")
    assert "filesystem" not in printed  # nothing of the mesh is on this machine
    for secret in ("not-the-password", "not-the-key"):
        assert secret not in printed


async def test_what_a_strange_server_says_can_not_paint_on_the_terminal(tmp_path: Path) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version": "\\u001b[2J9.9.9"}\r\n')
        writer.close()

    async with await asyncio.start_server(greet, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        _, printed = await doctor("--data-dir", str(tmp_path), FRAMEMESH_NATS_URL=f"nats://{HOST}:{port}")
    assert "is NATS \\x1b[2J9.9.9" in printed
    assert "\x1b[2J" not in printed


@pytest.mark.parametrize("address", ["gateway", "https://gateway", "gateway:99999"])
async def test_an_address_without_a_port_is_told(address: str, tmp_path: Path) -> None:
    found = [finding async for finding in examine(places(tmp_path, address, {}))]
    assert [finding.mend for finding in found if finding.check == "gateway"] == [
        "write host:port, or https://host:port"
    ]
