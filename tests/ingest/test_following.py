import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from framemesh.rpc.reloading import file_state
from ingest import following
from ingest.following import Follower
from ingest.metrics import IngestMetrics
from ingest.settings import CameraSettings
from tests.ingest.watching import until, value

REFUSED = "framemesh_ingest_cameras_file_refused"


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_LOOK_SECONDS", 0.02)


class Following:
    """A follower and what it wanted, as the names each time."""

    def __init__(self, path: Path, metrics: IngestMetrics) -> None:
        self.wanted: list[list[str]] = []
        self.follower = Follower(path, file_state(path), self._want, metrics)

    def _want(self, cameras: tuple[CameraSettings, ...]) -> None:
        self.wanted.append([camera.name for camera in cameras])

    async def reads(self, *names: str) -> None:
        """Wait until these cameras are the last that were wanted."""
        await until(lambda: self.wanted[-1:] == [list(names)])


@asynccontextmanager
async def follow(path: Path, metrics: IngestMetrics) -> AsyncIterator[Following]:
    following = Following(path, metrics)
    async with asyncio.TaskGroup() as group:
        group.create_task(following.follower.run())
        yield following
        following.follower.stop()


def text(*names: str) -> str:
    return "cameras:\n" + "".join(f"  - {{name: {name}, source: a.mp4}}\n" for name in names)


async def test_a_file_is_read_again_when_it_is_written_or_replaced(tmp_path: Path, metrics: IngestMetrics) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(text("gate"))
    async with follow(path, metrics) as following:
        path.write_text(text("gate", "door"))
        await following.reads("gate", "door")
        new = tmp_path / "new"
        new.write_text(text("yard", "door"))  # of the same length
        new.replace(path)
        await following.reads("yard", "door")
    assert following.wanted == [["gate", "door"], ["yard", "door"]]


async def test_the_links_by_which_kubernetes_swaps_a_config_map_are_followed(
    tmp_path: Path, metrics: IngestMetrics
) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "cameras.yaml").write_text(text(version))
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "cameras.yaml").symlink_to("..data/cameras.yaml")
    async with follow(tmp_path / "cameras.yaml", metrics) as following:
        (tmp_path / "..data_tmp").symlink_to("two")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        await following.reads("two")


async def test_a_broken_file_is_refused_and_told_of_until_it_is_mended(
    tmp_path: Path, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(text("gate"))
    with capture_logs() as lines:
        async with follow(path, metrics) as following:
            assert following.follower.problem() is None
            path.write_text(text("gate", "yard/north"))
            await until(lambda: following.follower.problem() is not None)
            assert f"{path}:3:12: camera 'yard/north'" in str(following.follower.problem())
            assert value(registry, REFUSED) == 1
            path.unlink()
            await until(lambda: "No such file" in str(following.follower.problem()))
            path.write_text(text("gate", "yard-north"))
            await following.reads("gate", "yard-north")
            assert following.follower.problem() is None
            assert value(registry, REFUSED) == 0
    assert following.wanted == [["gate", "yard-north"]]
    errors = [line["error"] for line in lines if line["event"] == "cameras_file.refused"]
    assert len(errors) == 2  # each said once, however often the file was looked at


async def test_a_file_that_is_still_being_written_is_not_read(tmp_path: Path, metrics: IngestMetrics) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(text("gate"))
    following = Following(path, metrics)
    looks = iter([text("gate", "door"), text("gate", "door", "yard"), text("gate", "door", "yard", "shed"), None])

    def look(path: Path) -> object:
        """The file grows between looks."""
        more = next(looks, None)
        if more is not None:
            path.write_text(more)
        return file_state(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingest.following.file_state", look)
        async with asyncio.TaskGroup() as group:
            group.create_task(following.follower.run())
            await following.reads("gate", "door", "yard", "shed")
            following.follower.stop()
    assert len(following.wanted) == 1


async def test_asked_to_it_reads_the_file_at_once(
    tmp_path: Path, metrics: IngestMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_LOOK_SECONDS", 3600)
    path = tmp_path / "cameras.yaml"
    path.write_text(text("gate"))
    async with follow(path, metrics) as one:
        one.follower.reload()
        await one.reads("gate")
        before = path.stat()
        path.write_text(text("door"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        one.follower.reload()
        await one.reads("door")
