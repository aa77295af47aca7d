import asyncio
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archiver.app import archiver
from archiver.files import write
from archiver.merging import small
from archiver.progress import Notebook
from archiver.rows import frame_row
from archiver.settings import ArchiverSettings
from framemesh.bus import Bus, streams
from framemesh.bus.archive import Progress, archived_until, going_on, write_now
from framemesh.bus.reading import between
from framemesh.bus.states import stream_state
from framemesh.frames import timestamp
from framemesh.lake import Lake, StoredObject
from framemesh.mesh import processes
from framemesh.mesh.servers import free_port
from framemesh.mesh.supervision import Supervisor
from framemesh.tables import FRAMES, RESULTS
from framemesh.v1.frame_pb2 import StoredFrame
from framemesh.v1.service_pb2 import LogLine
from tests.archiver.conftest import START_NS, answer, files, frame, rows, store
from tests.faults.proxy import proxy
from tests.framemesh.test_presence import heard
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


async def begun(settings: ArchiverSettings, bus: Bus, camera: str) -> None:
    """Have an archiver write a camera's first frame, and all that was there before."""
    async with archiver(settings):
        await store(bus, camera, 0)
        await until(lambda: archived(bus, "frames", streams.STORED))


async def test_every_message_is_one_row_in_its_partition(
    settings: ArchiverSettings, bus: Bus, lakes: dict[str, Lake]
) -> None:
    async with archiver(settings):
        stored = [await store(bus, camera, number) for number in range(60) for camera in ("gate", "yard")]
        answered = [("vit", await answer(bus, "vit", "gate", number)) for number in range(60)]
        await bus.publish("stored.gate", b"\xff no message", {}, timeout=60)
        await bus.publish("results.vit.gate", b"", {}, timeout=60)
        impossible = StoredFrame(frame=frame("gate", 1), store_time=timestamp(START_NS))
        impossible.store_time.seconds = 2**62
        await bus.publish("stored.gate", impossible.SerializeToString(), {}, timeout=60)
        await until(lambda: all_archived(bus))
    found = await rows(lakes, FRAMES)
    assert Counter(row["frame_id"] for row in found) == Counter(stored)
    by_file = await files(lakes["results"])
    assert Counter((key.split("/")[0], row["frame_id"]) for key, rs in by_file.items() for row in rs) == Counter(
        (f"model={model}", frame_id) for model, frame_id in answered
    )
    hours = {key.rpartition("/")[0] for key in by_file}
    assert hours == {f"model=vit/date=2026-09-21/hour={hour}" for hour in (14, 15, 16)}


async def test_killed_again_and_again_it_writes_each_row_once_and_tells_what_it_logs(
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
    async with heard(bus, "logs.archiver.*", LogLine) as told:
        await supervisor.start(processes.archiver(env, http_port=free_port()))
        await until(lambda: "service.started" in {line.event for line in told}, seconds=60)
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
    await until(lambda: archived(bus, "results", streams.RESULTS), seconds=60)  # there may be no frames yet
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
            await until(lambda: archived(bus, "frames", streams.STORED), seconds=60)
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
    await begun(settings, bus, "whole")
    lake = lakes["frames"]
    keys = [f"camera=cut-{written}/date=2026-09-21/hour=14/{name}.parquet".lower() for name in ("1", "2", "merged-12")]
    body, _ = await lake.get((await lake.keys("camera=whole/"))[0])
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
        await until(lambda: archived(bus, "frames", streams.STORED))
    found = [row["frame_id"] for key, rs in (await files(lakes["frames"])).items() if "=two/" in key for row in rs]
    assert Counter(found) == Counter(stored)


async def test_what_a_crash_left_half_written_is_finished_though_the_stream_lost_rows_of_it(
    settings: ArchiverSettings, bus: Bus, lakes: dict[str, Lake]
) -> None:
    """As after a kill between writing the first of two files and the second, and limits that then took the head."""
    await begun(settings, bus, "before-half")
    state = (await bus.js.stream_info(streams.STORED)).state
    stored = [await store(bus, "half", number) for number in (0, 3, 1, 6, 4)]  # hours 14, 14, 15, 14, 15
    notebook = Notebook(bus, "frames")
    await notebook.read()
    assert notebook.noted is not None
    noted = await notebook.change(notebook.noted, last=state.last_seq + len(stored))
    assert noted.next == state.last_seq + 1
    messages = [message async for message in between(bus, streams.STORED, noted.next, noted.last)]
    rows_of_14 = [frame_row(messages[number].data) for number in (0, 1, 3)]
    key = f"camera=half/date=2026-09-21/hour=14/{noted.stream}-{noted.next:019}.parquet"
    body = write([row for _, row in filter(None, rows_of_14)], FRAMES.columns)
    await lakes["frames"].put(key, body, content_type="x/y", metadata={})
    await bus.js.purge_stream(streams.STORED, seq=noted.next + 2)
    async with archiver(settings):
        await until(lambda: archived(bus, "frames", streams.STORED))
    found = [row["frame_id"] for key, rs in (await files(lakes["frames"])).items() if "=half/" in key for row in rs]
    assert Counter(found) == Counter(stored)


async def test_files_that_are_none_of_ours_are_neither_merged_nor_lost(
    settings: ArchiverSettings, bus: Bus, lakes: dict[str, Lake]
) -> None:
    prefix = "camera=shared/date=2026-09-21/hour=14/"
    others = BytesIO()
    pq.write_table(pa.table({"a": [1]}), others)
    wrong = BytesIO()
    pq.write_table(pa.table({"frame_id": [["a list"]]}), wrong)
    foreign = {"README.md": b"hello", "cut.parquet": b"PAR1", "other.parquet": others.getvalue()}
    foreign["wrong.parquet"] = wrong.getvalue()
    for name, body in foreign.items():
        await lakes["frames"].put(prefix + name, body, content_type="x/y", metadata={})
    stored = []
    async with archiver(settings):
        for number in range(16):
            stored.append(await store(bus, "shared", 3 * number))
            await until(lambda: archived(bus, "frames", streams.STORED))

        async def merged() -> list[str]:
            return [key for key in await lakes["frames"].keys(prefix) if "merged-" in key]

        await until(merged)
        await until(lambda: archived(bus, "frames", streams.STORED))
    found: list[str] = []
    for key in await lakes["frames"].keys(prefix):
        body, _ = await lakes["frames"].get(key)
        name = key.removeprefix(prefix)
        if name in foreign:
            assert foreign.pop(name) == body
        else:
            found += [row["frame_id"] for row in pq.read_table(BytesIO(body)).to_pylist()]
    assert not foreign
    assert Counter(found) == Counter(stored)
    for name in ("README.md", "cut.parquet", "other.parquet", "wrong.parquet"):
        await lakes["frames"].delete(prefix + name)


async def test_asked_to_it_writes_before_its_time(settings: ArchiverSettings, bus: Bus, lakes: dict[str, Lake]) -> None:
    await store(bus, "not-asked", 1)
    async with archiver(settings.model_copy(update={"archive_seconds": 3600.0})):
        await until(lambda: archived(bus, "frames", streams.STORED))  # from here on it waits
        await store(bus, "asked", 1)

        async def asked() -> bool:
            await write_now(bus)
            return await archived(bus, "frames", streams.STORED)

        await until(asked)
    stream = await stream_state(bus, streams.STORED)
    assert stream.last == await archived_until(bus, "frames", stream) > 0


def test_a_stream_made_anew_is_begun_anew_but_a_merge_still_ends() -> None:
    then, now = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    assert going_on(None, then).next == 1
    noted = replace(going_on(None, then), next=7, last=9, merged="m", sources=("a", "b"))
    assert going_on(noted, then) == noted
    anew = going_on(noted, now)
    assert (anew.next, anew.last, anew.merged, anew.sources) == (1, 0, "m", ("a", "b"))
    assert anew.stream != noted.stream


async def test_notes_that_were_deleted_are_begun_anew(bus: Bus) -> None:
    notebook = Notebook(bus, "deleted")
    await notebook.read()
    await notebook.note(Progress("now", 7))
    await (await bus.js.key_value(streams.ARCHIVE_BUCKET)).delete("deleted")
    await notebook.read()
    assert notebook.noted is None
    await notebook.note(Progress("now", 8))


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
