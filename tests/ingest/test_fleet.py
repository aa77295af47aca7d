import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from ingest import fleet as module
from ingest.fleet import Fleet
from ingest.settings import CameraSettings
from tests.ingest.watching import until


class Scripted:
    """A camera that notes what becomes of it, and ends when it is told to, or not."""

    def __init__(self, settings: CameraSettings, told: list[str], *, ends: Callable[[], bool] = lambda: True) -> None:
        self.name = f"camera {settings.name}"
        self._who = f"{settings.name} {settings.source}"
        self._told = told
        self._ends = ends
        self._stopping = asyncio.Event()
        self.has_looked = False

    async def run(self) -> None:
        self._told.append(f"{self._who} began")
        if self._who.endswith("broken"):
            raise ValueError("a fault")
        try:
            if not self._who.endswith("short"):
                await self._stopping.wait()
            await until(self._ends)
        finally:
            self._told.append(f"{self._who} ended")

    def stop(self) -> None:
        self._stopping.set()


@pytest.fixture
def told() -> list[str]:
    return []


@asynccontextmanager
async def running(
    told: list[str], *, ends: Callable[[], bool] = lambda: True, drain_seconds: float = 60
) -> AsyncIterator[Fleet]:
    """A fleet, stopped at the end."""
    fleet = Fleet(
        lambda settings: Scripted(settings, told, ends=ends),
        forget=lambda name: told.append(f"{name} forgotten"),
        drain_seconds=drain_seconds,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(fleet.run())
        yield fleet
        fleet.stop()


def cameras(**sources: str) -> tuple[CameraSettings, ...]:
    return tuple(CameraSettings(name=name, source=source) for name, source in sources.items())


async def test_cameras_come_change_and_go_and_the_others_run_on(told: list[str]) -> None:
    async with running(told) as fleet:
        fleet.want(cameras(gate="a", door="a"))
        await until(lambda: len(told) == 2)
        with capture_logs() as lines:
            fleet.want(cameras(gate="b", yard="a"))
        await until(lambda: len(told) == 7)
        assert sorted(told[2:]) == ["door a ended", "door forgotten", "gate a ended", "gate b began", "yard a began"]
        assert told.index("gate a ended") < told.index("gate b began")
        (line,) = lines
        assert (line["added"], line["changed"], line["removed"]) == (["yard"], ["gate"], ["door"])
        fleet.want(cameras(yard="a", gate="b"))
        fleet.want(())
        await until(lambda: len(told) == 11)
        fleet.want(cameras(door="c"))
        await until(lambda: told[-1] == "door c began")
    assert told[-2:] == ["door c ended", "door forgotten"]
    assert told.count("yard a began") == 1


async def test_a_camera_that_drains_keeps_its_successor_waiting_and_nobody_else(told: list[str]) -> None:
    drained = False
    async with running(told, ends=lambda: drained) as fleet:
        fleet.want(cameras(gate="a"))
        await until(lambda: told == ["gate a began"])
        fleet.want(())
        fleet.want(cameras(gate="b"))
        fleet.want(cameras(gate="c", door="a"))
        await until(lambda: told[-1] == "door a began")
        drained = True
        await until(lambda: told[-1] == "gate c began")
    assert told[:4] == ["gate a began", "door a began", "gate a ended", "gate c began"]
    assert "gate b began" not in told


async def test_a_camera_that_does_not_end_in_its_time_is_cut(told: list[str]) -> None:
    stuck = True
    with capture_logs() as lines:
        async with running(told, ends=lambda: not stuck, drain_seconds=0.1) as fleet:
            fleet.want(cameras(gate="a"))
            await until(lambda: len(told) == 1)
            fleet.want(cameras(gate="b"))
            fleet.want(cameras(gate="c"))
            await until(lambda: told[-1] == "gate c began")
            stuck = False
    assert told[:3] == ["gate a began", "gate a ended", "gate c began"]
    assert [line["camera"] for line in lines if line["event"] == "camera.cut"] == ["gate"]


async def test_a_fault_in_one_camera_is_told_of_and_tried_again_and_ends_no_other(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.01)
    with capture_logs() as lines:
        async with running(told) as fleet:
            fleet.want(cameras(gate="broken", door="a"))
            await until(lambda: told.count("gate broken began") >= 3)
            fleet.want(cameras(gate="mended", door="a"))
            await until(lambda: "gate mended began" in told)
    assert told.count("door a began") == told.count("door a ended") == 1
    assert {line["camera"] for line in lines if line["event"] == "camera.failed"} == {"gate"}


async def test_a_fault_does_not_keep_other_settings_waiting(told: list[str]) -> None:
    async with running(told) as fleet:
        fleet.want(cameras(gate="broken"))
        await until(lambda: told == ["gate broken began"])
        fleet.want(cameras(gate="mended"))
        await until(lambda: told[-1] == "gate mended began")


async def test_a_camera_with_an_end_of_its_own_is_not_begun_again(told: list[str]) -> None:
    async with running(told) as fleet:
        fleet.want(cameras(gate="short", door="a"))
        await until(lambda: "gate short ended" in told)
        fleet.want(cameras(gate="short", door="b"))
        await until(lambda: "door b began" in told)
        assert told.count("gate short began") == 1
        fleet.want(cameras(gate="other"))
        await until(lambda: "gate other began" in told)


async def test_after_a_stop_nothing_begins(told: list[str]) -> None:
    async with running(told) as fleet:
        fleet.want(cameras(gate="a"))
        await until(lambda: len(told) == 1)
        fleet.stop()
        fleet.want(cameras(gate="b", door="a"))
    assert told == ["gate a began", "gate a ended", "gate forgotten"]


async def test_a_fleet_that_is_cancelled_cancels_its_cameras(told: list[str]) -> None:
    fleet = Fleet(lambda settings: Scripted(settings, told), forget=told.append, drain_seconds=60)
    fleet.want(cameras(gate="a", door="a"))
    task = asyncio.create_task(fleet.run())
    await until(lambda: len(told) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(told[2:]) == ["door a ended", "gate a ended"]


async def test_an_agent_is_ready_once_each_first_camera_has_looked(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_LOOK_SECONDS", 600)
    made: dict[str, Scripted] = {}

    def make(settings: CameraSettings) -> Scripted:
        made[settings.name] = Scripted(settings, told)
        return made[settings.name]

    fleet = Fleet(make, forget=told.append, drain_seconds=60)
    fleet.want(cameras(door="a", gate="b", short="short"))
    assert fleet.problem() == "cameras open their sources: door, gate, short"
    async with asyncio.TaskGroup() as group:
        group.create_task(fleet.run())
        await until(lambda: "short short ended" in told)
        made["door"].has_looked = True
        await until(lambda: fleet.problem() == "cameras open their sources: gate")
        made["gate"].has_looked = True
        await until(lambda: fleet.problem() is None)
        fleet.want(cameras(gate="b", roof="c"))
        await until(lambda: "roof c began" in told)
        assert fleet.problem() is None
        fleet.stop()


async def test_an_agent_does_not_wait_for_ever_for_a_camera_that_hangs(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_LOOK_SECONDS", 0.05)
    async with running(told) as fleet:
        fleet.want(cameras(gate="b"))
        await until(lambda: fleet.problem() is None)
