"""Streams by the size of the disk, and a disk that is full: a real one, where this machine lets us mount it."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from framemesh.bus import Bus, connect, streams
from framemesh.bus.states import stream_state
from framemesh.errors import BusUnavailableError, ConfigurationError, LakeUnavailableError
from framemesh.lake import Lake
from framemesh.mesh import disk
from framemesh.mesh.disk import DiskWatch
from framemesh.mesh.servers import free_port, nats_server, nats_url, s3_server
from framemesh.mesh.supervision import Supervisor
from framemesh.service import running
from tests.conftest import CREDENTIALS
from tests.gateway.conftest import until

MIB, GIB = 1024**2, 1024**3


def test_a_large_disk_gets_the_usual_streams() -> None:
    sizes = disk.stream_bytes(100 * GIB, {})
    assert sizes == disk.USUAL_BYTES
    assert disk.small_words(sizes) == ""


def test_a_small_disk_gets_small_streams_and_the_outage_that_they_survive_is_told() -> None:
    sizes = disk.stream_bytes(2 * GIB, {})
    assert sum(sizes.values()) <= GIB
    assert sizes[disk.FRAMES_BYTES] == pytest.approx(4 * GIB / 7, abs=1)
    assert "68 s at 9 MB/s" in disk.small_words(sizes)


def test_what_the_operator_chose_stays() -> None:
    sizes = disk.stream_bytes(2 * GIB, {disk.FRAMES_BYTES: "1000000000"})
    assert disk.FRAMES_BYTES not in sizes
    assert disk.small_words(sizes) == ""


def test_a_disk_too_small_for_anything_says_how_much_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="128 MiB"):
        disk.stream_bytes(100 * MIB, {})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 176 MiB: three more than all streams may hold."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = (str(mount), "-t", "tmpfs", "-o", "size=176M", "tmpfs", folder)
    if not (mount and umount) or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("this machine lets us mount nothing")
    yield folder
    subprocess.run((umount, "--lazy", folder), check=True)


async def test_nats_on_a_full_disk_refuses_keeps_what_it_took_and_goes_on_once_there_is_space(
    small_disk: Path, tmp_path: Path
) -> None:
    port = free_port()
    events: list[str] = []
    async with Supervisor(tmp_path / "logs", on_event=events.append) as supervisor:
        await supervisor.start(nats_server(small_disk / "nats", port, CREDENTIALS))
        watch = DiskWatch(small_disk, lambda: supervisor.restart("nats"), events.append, low_bytes=MIB)
        async with connect(nats_url(port, CREDENTIALS), name="test") as bus, running(watch, drain_seconds=1):
            await streams.ensure(bus, streams.StreamSizes(74 * MIB, MIB, MIB, MIB, keep_days=1, replicas=1))
            ballast = small_disk / "ballast"
            ballast.write_bytes(bytes(156 * MIB))
            accepted = await accepted_until_refused(bus)
            await until(lambda: any("is full" in event for event in events))
            ballast.unlink()

            async def goes_on() -> bool:
                try:
                    await bus.publish("frames.gate", b"again", {"Nats-Msg-Id": "gate-again"}, timeout=1)
                except BusUnavailableError:
                    return False
                return True

            await until(goes_on)
            assert 5 < accepted < 40
            # What was not acknowledged may be there as well, as after every lost acknowledgement.
            assert (await stream_state(bus, streams.FRAMES)).messages >= accepted + 1


async def accepted_until_refused(bus: Bus) -> int:
    """How many frames of 1 MiB NATS took."""
    for accepted in range(40):
        try:
            await bus.publish("frames.gate", bytes(MIB), {}, timeout=4)
        except BusUnavailableError:
            return accepted
    return 40


async def refusal(lake: Lake, body: bytes) -> str:
    """What the lake says when it is full."""
    for number in range(40):
        try:
            await lake.put(f"{number}", body, content_type="x/y", metadata={})
        except LakeUnavailableError as error:
            return str(error)
    return ""


async def test_a_lake_that_has_filled_its_part_says_so_and_takes_more_once_something_is_deleted(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with Supervisor(tmp_path / "logs", on_event=print) as supervisor:
        # It must leave more than there is: so it gets the least, one GiB.
        spec = await asyncio.to_thread(s3_server, tmp_path / "s3", port, CREDENTIALS, leave_bytes=1 << 60)
        await supervisor.start(spec)
        async with Lake(
            f"http://127.0.0.1:{port}",
            access_key=CREDENTIALS.user,
            secret_key=CREDENTIALS.password,
            region="us-east-1",
            bucket="frames",
            requests=4,
        ) as lake:
            body = bytes(32 * MIB)
            assert "no space left" in await refusal(lake, body)
            for number in range(3):
                await lake.delete(f"{number}")

            async def takes() -> bool:
                try:
                    await lake.put("again", body, content_type="x/y", metadata={})
                except LakeUnavailableError:
                    return False
                return True

            await until(takes)
