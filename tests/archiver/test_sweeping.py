"""Retention on real S3 servers: what goes, what stays, and what a stop or an outage in the middle leaves."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

import pytest
import structlog
from prometheus_client import CollectorRegistry

from archiver.app import archiver
from archiver.metrics import ArchiverMetrics
from archiver.retention import Limit, parse
from archiver.settings import ArchiverSettings
from archiver.sweeping import Sweeper
from framemesh.bus import Bus, streams
from framemesh.frames import NANOSECONDS, FrameId, object_key, timestamp
from framemesh.lake import Lake
from framemesh.service import running
from framemesh.v1.frame_pb2 import Frame, StoredFrame
from tests.faults.proxy import proxy
from tests.gateway.conftest import until
from tests.stores import STORES

HOUR_NS = 3600 * NANOSECONDS
NOW = datetime(2026, 9, 21, 14, 25, tzinfo=UTC)
BODY = bytes(1000)


class Clock(datetime):
    """Stands still: an hour that ends in the middle of a test would change what has to go."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(NOW.timestamp(), tz)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.sweeping.datetime", Clock)


@pytest.fixture(scope="module", params=STORES)
def s3_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def frames(settings: ArchiverSettings) -> AsyncIterator[Lake]:
    async with Lake.from_settings(settings, bucket="frames") as lake:
        yield lake


@pytest.fixture
async def rows(settings: ArchiverSettings) -> AsyncIterator[Lake]:
    async with Lake.from_settings(settings, bucket="references") as lake:
        yield lake


async def fill(frames: Lake, camera: str, *, hours: int, each: int = 3) -> dict[int, list[str]]:
    """Frames of the last hours, by how many hours ago; the hour under way is 0."""
    start_ns = int(NOW.timestamp()) * NANOSECONDS // HOUR_NS * HOUR_NS
    keys = {
        ago: [object_key(FrameId(camera, start_ns - ago * HOUR_NS + number), "image/jpeg") for number in range(each)]
        for ago in range(hours)
    }
    every = [key for several in keys.values() for key in several]
    await asyncio.gather(*(frames.put(key, BODY, content_type="image/jpeg", metadata={}) for key in every))
    return keys


def partition(camera: str, ago: int) -> str:
    hour = NOW - timedelta(hours=ago)
    return f"camera={camera}/date={hour:%Y-%m-%d}/hour={hour:%H}/"


@asynccontextmanager
async def sweeping(
    bus: Bus, frames: Lake, rows: Lake, limits: Mapping[str, Limit], *, deletes_per_second: int = 10_000
) -> AsyncIterator[ArchiverMetrics]:
    metrics = ArchiverMetrics(CollectorRegistry())
    sweeper = Sweeper(bus, frames, rows, limits, metrics, seconds=0.1, deletes_per_second=deletes_per_second)
    async with running(sweeper, drain_seconds=60):
        yield metrics


async def come_to(lake: Lake, prefix: str, keys: list[str]) -> None:
    """Wait until these are all the keys below a prefix, and see that they stay."""

    async def same() -> bool:
        return await lake.keys(prefix) == sorted(keys)

    await until(same)
    await asyncio.sleep(0.3)
    assert await same()


async def fewer(lake: Lake, prefix: str, count: int) -> bool:
    return len(await lake.keys(prefix)) < count


async def test_hours_that_are_too_old_go_with_their_rows_and_everything_else_stays(
    settings: ArchiverSettings, frames: Lake, bus: Bus, rows: Lake
) -> None:
    """Through the archiver itself, as it is set."""
    gate, yard = await fill(frames, "gate", hours=6), await fill(frames, "yard", hours=6)
    foreign = gate[5][0].rpartition("/")[0] + "/somebody.txt"
    misplaced = gate[5][0].replace("gate-", "yard-")
    for key in (foreign, misplaced, "gate/notes/2026.txt", "README"):
        await frames.put(key, b"not ours", content_type="text/plain", metadata={})
    for ago in range(6):
        for camera in ("gate", "yard"):
            await rows.put(f"{partition(camera, ago)}1.parquet", b"rows", content_type="x/y", metadata={})
    async with archiver(settings.model_copy(update={"retention": "gate=2h", "retention_seconds": 0.1})):
        await come_to(frames, "gate/", [*gate[0], *gate[1], *gate[2], foreign, misplaced, "gate/notes/2026.txt"])
        await come_to(rows, "camera=gate/", [f"{partition('gate', ago)}1.parquet" for ago in range(3)])
    assert len(await frames.keys("yard/")) == sum(len(keys) for keys in yard.values())
    assert len(await rows.keys("camera=yard/")) == 6
    assert "README" in await frames.keys("")


async def test_the_newest_hours_that_fit_are_kept(bus: Bus, frames: Lake, rows: Lake) -> None:
    keys = await fill(frames, "sized", hours=5)
    async with sweeping(bus, frames, rows, {"sized": Limit(size_bytes=2.5 * 3 * len(BODY))}) as metrics:
        await come_to(frames, "sized/", [*keys[0], *keys[1]])
        await until(lambda: metrics.kept_bytes.labels("sized")._value.get() == 2 * 3 * len(BODY))
        assert metrics.deleted_frames.labels("sized")._value.get() == 3 * 3
        assert metrics.deleted_bytes.labels("sized")._value.get() == 3 * 3 * len(BODY)


async def test_a_sweep_that_was_stopped_goes_on_with_the_next_start(bus: Bus, frames: Lake, rows: Lake) -> None:
    keys = await fill(frames, "cut", hours=3, each=150)
    limits = parse("cut=1h")
    async with sweeping(bus, frames, rows, limits, deletes_per_second=1) as metrics:  # the stop comes well before
        await until(lambda: fewer(frames, "cut/", 450))
    left = len(await frames.keys("cut/"))
    assert 300 < left < 450
    assert metrics.deleted_frames.labels("cut")._value.get() == 450 - left
    async with sweeping(bus, frames, rows, limits):
        await come_to(frames, "cut/", [*keys[0], *keys[1]])


async def test_a_sweep_goes_on_when_a_lake_that_was_away_is_back(
    settings: ArchiverSettings, bus: Bus, frames: Lake, rows: Lake
) -> None:
    keys = await fill(frames, "away", hours=3)
    async with proxy(int(settings.s3_endpoint.rpartition(":")[2])) as way:
        behind = settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{way.port}"})
        far = Lake.from_settings(behind, bucket="frames")
        await way.cut()
        with structlog.testing.capture_logs() as logs:
            async with sweeping(bus, far, rows, parse("away=1h")):
                await until(lambda: any(line["event"] == "retention.put_off" for line in logs))
                assert len(await frames.keys("away/")) == 9
                await way.mend()
                await come_to(frames, "away/", [*keys[0], *keys[1]])


async def test_a_model_that_has_yet_to_read_what_goes_is_named(bus: Bus, frames: Lake, rows: Lake) -> None:
    keys = await fill(frames, "read", hours=3)
    await streams.ensure_model_consumer(bus, "slow", ["read"], max_ack_pending=10)
    frame_id = keys[2][0].rpartition("/")[2].removesuffix(".jpg")
    frame = Frame(frame_id=frame_id, camera="read", object_key=keys[2][0])
    stored = StoredFrame(frame=frame, store_time=timestamp(time.time_ns()))
    await bus.publish("stored.read", stored.SerializeToString(), {}, timeout=60)
    with structlog.testing.capture_logs() as logs:
        async with sweeping(bus, frames, rows, parse("read=1h")):
            await come_to(frames, "read/", [*keys[0], *keys[1]])
    warned = [line for line in logs if line["event"] == "retention.ahead_of_model"]
    assert {(line["camera"], line["consumer"]) for line in warned} == {("read", "model-slow")}
    await streams.delete_model_consumer(bus, "slow")
