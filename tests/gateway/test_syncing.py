"""A disk that is synced before frames leave NATS."""

import asyncio
import threading
from pathlib import Path

import pytest

from framemesh.bus import Bus, streams
from framemesh.errors import LakeUnavailableError
from gateway import syncing
from gateway.app import gateway
from gateway.settings import GatewaySettings
from gateway.syncing import DiskSync, sync_disk
from tests.gateway.conftest import publish, until
from tests.pictures import jpeg


class SlowDisk:
    """Lets a sync end when the test says so."""

    def __init__(self) -> None:
        self.syncs = 0
        self.may_end = threading.Semaphore(0)

    def sync(self, folder: Path) -> None:
        self.syncs += 1
        self.may_end.acquire()
        sync_disk(folder)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    slow = SlowDisk()
    monkeypatch.setattr(syncing, "sync_disk", slow.sync)
    return slow


async def test_one_sync_serves_all_that_came_before_it_and_nobody_else(disk: SlowDisk, tmp_path: Path) -> None:
    sync = DiskSync(tmp_path)
    first = asyncio.create_task(sync.synced())
    await until(lambda: disk.syncs == 1)
    later = [asyncio.create_task(sync.synced()) for _ in range(20)]
    disk.may_end.release()
    await first
    await until(lambda: disk.syncs == 2)
    assert not any(task.done() for task in later)
    disk.may_end.release()
    await asyncio.gather(*later)
    assert disk.syncs == 2


async def test_a_disk_that_cannot_be_synced_is_the_lakes_trouble_and_the_next_sync_is_tried_anew(
    tmp_path: Path,
) -> None:
    sync = DiskSync(tmp_path / "gone")
    for _ in range(2):
        with pytest.raises(LakeUnavailableError, match="No such file"):
            await sync.synced()
    (tmp_path / "gone").mkdir()
    await sync.synced()


async def test_where_the_lake_syncs_itself_nothing_waits() -> None:
    await DiskSync(None).synced()


async def test_a_frame_leaves_nats_only_after_the_sync_but_its_reference_is_out_before(
    disk: SlowDisk, settings: GatewaySettings, bus: Bus, tmp_path: Path
) -> None:
    async def state(stream: str) -> int:
        return (await bus.js.stream_info(stream)).state.messages

    async def referred() -> bool:
        return await state(streams.STORED) == 1

    async def gone() -> bool:
        return await state(streams.FRAMES) == 0

    async with gateway(settings.model_copy(update={"store_sync_folder": tmp_path})):
        await publish(bus, "synced", jpeg(1))
        await until(referred)
        await until(lambda: disk.syncs == 1)
        assert not await gone()
        disk.may_end.release()
        await until(gone)
