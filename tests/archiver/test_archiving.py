import asyncio
import time
from collections import Counter

import psutil
import pytest

from archiver.app import archiver
from archiver.merging import small
from archiver.settings import ArchiverSettings
from framemesh.bus import Bus, streams
from framemesh.bus.notes import Notebook, Progress
from framemesh.frames import timestamp
from framemesh.lake import Lake, StoredObject
from framemesh.mesh import processes
from framemesh.mesh.servers import free_port
from framemesh.mesh.supervision import Supervisor
from framemesh.tables import FRAMES, RESULTS
from framemesh.v1.frame_pb2 import StoredFrame
from tests.archiver.conftest import START_NS, answer, files, frame, rows, store
from tests.faults.proxy import proxy
from tests.gateway.conftest import until
from tests.stores import STORES

SECONDS_TO_KILLS = (0.15, 0.4, 0.05, 0.6)


@pytest.fixture(scope="module", params=STORES)
def s3_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def archived(bus: Bus, table: str, stream: str) -> bool:
    """Whether everything in the stream is in the table."""
    notebook = Notebook(bus, table)
    await notebook.read()
    newest = (await bus.js.stream_info(stream)).state.last_seq
    return notebook.noted is not None and (notebook.noted.next, notebook.noted.last) == (newest + 1, 0)


async def all_archived(bus: Bus) -> bool:
    return await archived(bus, "frames", streams.STORED) and await archived(bus, "results", streams.RESULTS)


async def test_every_message_is_one_row_in_its_partition(
    settings: ArchiverSettings, bus: Bus, lakes: dict[str, Lake]
) -> None:
    async with archiver(settings):
        stored = [await store(bus, camera, number) for number in range(60) for camera in ("gate", "yard")]
        answered = [("vit", await answer(bus, "vit", "gate", number)) for number in range(60)]
        await bus.publish("stored.gate", b"\xff no message", {}, timeout=5)
        await bus.publish("results.vit.gate", b"", {}, timeout=5)
        impossible = StoredFrame(frame=frame("gate", 1), store_time=timestamp(START_NS))
        impossible.store_time.seconds = 2**62
        await bus.publish("stored.gate", impossible.SerializeToString(), {}, timeout=5)
        await until(lambda: all_archived(bus))
    found = await rows(lakes, FRAMES)
    assert Counter(row["frame_id"] for row in found) == Counter(stored)
    by_file = await files(lakes["results"])
    assert Counter((key.split("/")[0], row["frame_id"]) for key, rs in by_file.items() for row in rs) == Counter(
        (f"model={model}", frame_id) for model, frame_id in answered
    )
    hours = {key.rpartition("/")[0] for key in by_file}
    assert hours == {f"model=vit/date=2026-09-21/hour={hour}" for hour in (14, 15, 16)}


async def test_killed_again_and_again_it_writes_each_row_once(
    settings: ArchiverSettings, bus: Bus, lakes: dict[str, Lake], supervisor: Supervisor
) -> None:
    before = len(await rows(lakes, RESULTS))
    env = {
        "FRAMEMESH_NATS_URL": settings.nats_url.get_secret_value(),
        "FRAMEMESH_S3_ENDPOINT": settings.s3_endpoint,
        "FRAMEMESH_S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "FRAMEMESH_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "FRAMEMESH_ARCHIVE_SECONDS": "0.05",
    }
    await supervisor.start(processes.archiver(env, http_port=free_port()))
    answered: list[str] = []
    done = asyncio.Event()

    async def answering() -> None:
        number = 0
        while not done.is_set():
            answered.append(await answer(bus, f"model-{number % 7}", "killed", number))
            number += 1
            await asyncio.sleep(0.001)

    async def kill() -> None:
        killed = await until(lambda: supervisor.pids().get("archiver"))
        psutil.Process(killed).kill()
        await until(lambda: supervisor.pids().get("archiver") != killed)

    task = asyncio.create_task(answering())
    for seconds in SECONDS_TO_KILLS:
        await asyncio.sleep(seconds)
        await kill()
    done.set()
    await task
    await until(lambda: all_archived(bus), seconds=60)
    await supervisor.stop("archiver")
    found = [row["frame_id"] for row in await rows(lakes, RESULTS) if row["camera"] == "killed"]
    assert Counter(found) == Counter(answered)
    assert len(await rows(lakes, RESULTS)) == before + len(answered)


async def test_what_waited_while_the_lake_was_away_is_written_when_it_returns(
    settings: ArchiverSettings, bus: Bus, lakes: dict[str, Lake]
) -> None:
    async with proxy(int(settings.s3_endpoint.rpartition(":")[2])) as between:
        behind = settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{between.port}"})
        async with archiver(behind):
            await between.cut()
            stored = [await store(bus, "away", number) for number in range(40)]
            await asyncio.sleep(1)
            assert not await archived(bus, "frames", streams.STORED)
            await between.mend()
            await until(lambda: all_archived(bus), seconds=60)
    found = [row["frame_id"] for key, rs in (await files(lakes["frames"])).items() if "=away/" in key for row in rs]
    assert Counter(found) == Counter(stored)


async def test_many_small_files_become_one_with_the_same_rows(
    settings: ArchiverSettings, bus: Bus, lakes: dict[str, Lake]
) -> None:
    prefix = "camera=many/"
    stored = []
    async with archiver(settings):
        for number in range(16):
            stored.append(await store(bus, "many", 3 * number))  # all of one hour
            await until(lambda: archived(bus, "frames", streams.STORED))

        async def merged() -> bool:
            return ["merged-" in key for key in await lakes["frames"].keys(prefix)] == [True]

        await until(merged)
    (file,) = [rs for key, rs in (await files(lakes["frames"])).items() if key.startswith(prefix)]
    assert [row["frame_id"] for row in file] == sorted(stored)


@pytest.mark.parametrize("written", [True, False])
async def test_a_merge_that_was_cut_is_finished_or_forgotten(
    settings: ArchiverSettings, bus: Bus, lakes: dict[str, Lake], *, written: bool
) -> None:
    """As after a kill between noting, writing and deleting."""
    lake = lakes["frames"]
    keys = [f"camera=cut-{written}/date=2026-09-21/hour=14/{name}.parquet".lower() for name in ("1", "2", "merged-12")]
    body, _ = await lake.get(next(key for key in await lake.keys("") if "gate" in key))
    for key in keys if written else keys[:2]:
        await lake.put(key, body, content_type="x/y", metadata={})
    notebook = Notebook(bus, "frames")
    await notebook.read()
    assert notebook.noted is not None
    await notebook.change(notebook.noted, merged=keys[2], sources=tuple(keys[:2]))
    async with archiver(settings):

        async def finished() -> bool:
            await notebook.read()
            return notebook.noted is not None and not notebook.noted.merged

        await until(finished)
    assert await lake.keys(keys[0].rpartition("/")[0] + "/") == (keys[2:] if written else keys[:2])


async def test_a_stream_made_anew_goes_on_beside_what_the_old_one_told(
    settings: ArchiverSettings, bus: Bus, lakes: dict[str, Lake]
) -> None:
    before = await rows(lakes, RESULTS)
    config = (await bus.js.stream_info(streams.RESULTS)).config
    await bus.js.delete_stream(streams.RESULTS)
    await bus.js.add_stream(config)
    answered = [await answer(bus, "vit", "anew", number) for number in range(5)]
    async with archiver(settings):
        await until(lambda: archived(bus, "results", streams.RESULTS))
    after = await rows(lakes, RESULTS)
    assert len(after) == len(before) + 5
    assert Counter(row["frame_id"] for row in after if row["camera"] == "anew") == Counter(answered)


async def test_two_archivers_write_no_row_twice(settings: ArchiverSettings, bus: Bus, lakes: dict[str, Lake]) -> None:
    began = time.monotonic()
    async with archiver(settings), archiver(settings):
        stored: list[str] = []
        while time.monotonic() < began + 3:
            stored.append(await store(bus, "two", len(stored)))
        await until(lambda: all_archived(bus))
    found = [row["frame_id"] for key, rs in (await files(lakes["frames"])).items() if "=two/" in key for row in rs]
    assert Counter(found) == Counter(stored)


async def test_notes_that_say_nothing_are_begun_anew(bus: Bus) -> None:
    bucket = await bus.js.key_value(streams.ARCHIVE_BUCKET)
    for nonsense in (b"", b"[]", b'{"stream": 1}', b"\xff"):
        await bucket.put("nonsense", nonsense)
        notebook = Notebook(bus, "nonsense")
        await notebook.read()
        assert notebook.noted is None
        await notebook.note(Progress("now", 7))
        await notebook.read()
        assert notebook.noted == Progress("now", 7)


def test_what_is_large_already_is_not_merged_again() -> None:
    mib = 1024 * 1024
    assert small([StoredObject("a", mib), StoredObject("b", 20 * mib), StoredObject("c", mib)]) == ["a", "c"]
    assert len(small([StoredObject(str(number), 10 * mib) for number in range(100)])) == 4
