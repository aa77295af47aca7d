"""Storing while the lake is away, slow or killed, while a gateway is killed, and against a stream that is full."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import psutil
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from framemesh.bus import Bus, leases, streams
from framemesh.bus.reading import between
from framemesh.frames import MESSAGE_ID, NANOSECONDS, FrameId
from framemesh.lake import Lake
from framemesh.mesh import processes
from framemesh.mesh.servers import free_port
from framemesh.mesh.supervision import Supervisor
from framemesh.v1.frame_pb2 import StoredFrame
from gateway.app import gateway
from gateway.settings import GatewaySettings
from ingest.metrics import IngestMetrics
from ingest.pictures import Picture, Size
from ingest.publishing import Publisher
from tests.faults.proxy import Proxy, proxy
from tests.gateway.conftest import publish, stored_all, until
from tests.pictures import jpeg, large_jpeg
from tests.stores import STORES

MIB = 1024 * 1024
START_NS = 1_790_000_000 * NANOSECONDS


@pytest.fixture(scope="module", params=STORES)
def s3_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def behind_proxy(settings: GatewaySettings, **changes: int) -> AsyncIterator[tuple[Proxy, int]]:
    """A gateway whose way to the lake the test may cut; with the port of its metrics."""
    async with proxy(int(settings.s3_endpoint.rpartition(":")[2])) as between_them:
        changed = settings.model_copy(
            update={"s3_endpoint": f"http://127.0.0.1:{between_them.port}", "drain_seconds": 0.5, **changes}
        )
        async with gateway(changed) as running:
            yield between_them, running.http_port


async def metric(port: int, name: str) -> float:
    """A metric's value, all its labels together."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        text = await response.text()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    )


async def references(bus: Bus, camera: str) -> Counter[str]:
    """How often each frame of a camera was referred to."""
    last = (await bus.js.stream_info(streams.STORED)).state.last_seq
    messages = [message async for message in between(bus, streams.STORED, 1, last)]
    found = [StoredFrame.FromString(message.data).frame for message in messages]
    return Counter(frame.frame_id for frame in found if frame.camera == camera)


async def assert_stored_once(bus: Bus, lake: Lake, camera: str, frame_ids: list[FrameId]) -> None:
    wanted = Counter(str(frame_id) for frame_id in frame_ids)
    assert await references(bus, camera) == wanted
    keys = await lake.keys(f"{camera}/")
    assert Counter(key.rpartition("/")[2].partition(".")[0] for key in keys) == wanted


async def test_large_frames_are_held_up_to_so_many_bytes_however_many_wait(
    settings: GatewaySettings, bus: Bus, lake: Lake
) -> None:
    async with behind_proxy(settings, store_bytes=16 * MIB) as (way, port):
        way.stall()
        frame_ids = [await publish(bus, "large", large_jpeg(3 * MIB, number)) for number in range(12)]
        await until(lambda: metric(port, "framemesh_gateway_storing_bytes"))
        await asyncio.sleep(1)  # as many as may come have come
        info = await bus.js.consumer_info(streams.FRAMES, streams.STORE_CONSUMER)
        assert 2 <= (info.num_ack_pending or 0) <= 5
        assert await metric(port, "framemesh_gateway_storing_bytes") <= 16 * MIB
        await way.mend()
        await until(lambda: stored_all(bus), seconds=60)
        await assert_stored_once(bus, lake, "large", frame_ids)
        assert await metric(port, "framemesh_gateway_storing_bytes") == 0


async def test_frames_wait_in_nats_while_the_lake_is_away_and_the_metrics_say_how_many(
    settings: GatewaySettings, bus: Bus, lake: Lake
) -> None:
    async with behind_proxy(settings) as (way, port):
        await way.cut()
        with capture_logs() as lines:
            frame_ids = [await publish(bus, "away", jpeg(number)) for number in range(300)]
            await until(lambda: [line for line in lines if line["event"] == "frame.put_off"], seconds=60)
        assert {line.get("frame_id") for line in lines if line["event"] == "frame.put_off"} <= set(map(str, frame_ids))

        async def told() -> bool:
            return await metric(port, "framemesh_gateway_waiting_frames") == len(frame_ids)

        await until(told)
        assert await metric(port, "framemesh_gateway_waiting_bytes") > sum(len(jpeg(n)) for n in range(300))
        assert await metric(port, "framemesh_gateway_waiting_limit_bytes") == settings.frames_stream_bytes
        assert await metric(port, "framemesh_gateway_waiting_oldest_seconds") > 0
        await until(lambda: metric(port, "framemesh_gateway_storing_frames"))
        await way.mend()
        await until(lambda: stored_all(bus), seconds=60)
        await assert_stored_once(bus, lake, "away", frame_ids)
        await until(lambda: told_none(port))


async def test_a_frame_that_a_gateway_was_frozen_with_is_no_longer_its_own(
    settings: GatewaySettings, bus: Bus, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with behind_proxy(settings) as (_, port):
        with monkeypatch.context() as frozen:
            frozen.setattr(leases, "_LAPSED_SECONDS", -1.0)
            frame_id = await publish(bus, "frozen", jpeg(1))
            await until(lambda: metric(port, "framemesh_gateway_frames_total"))
            assert await references(bus, "frozen") == Counter()
        await until(lambda: stored_all(bus), seconds=60)
        await assert_stored_once(bus, lake, "frozen", [frame_id])


async def told_none(port: int) -> bool:
    return await metric(port, "framemesh_gateway_waiting_frames") == 0


async def test_a_lake_in_trouble_is_left_alone_more_and_more(settings: GatewaySettings, bus: Bus) -> None:
    """Each frame is fetched from NATS a few times at most, not in a circle for as long as the lake is away."""
    async with behind_proxy(settings) as (way, port):
        await way.cut()
        for number in range(300):
            await publish(bus, "alone", jpeg(number))
        await asyncio.sleep(6)
        assert await metric(port, "framemesh_gateway_frames_total") < 300
        await way.mend()
        await until(lambda: stored_all(bus), seconds=60)


async def test_a_lake_that_is_killed_loses_nothing_and_doubles_nothing(
    settings: GatewaySettings, bus: Bus, lake: Lake, supervisor: Supervisor
) -> None:
    async with gateway(settings):
        frame_ids: list[FrameId] = []
        for number in range(600):
            frame_ids.append(await publish(bus, "killed", jpeg(number)))
            if number in {150, 400}:
                killed = await until(lambda: supervisor.pids().get("s3"))
                psutil.Process(killed).kill()
        await until(lambda: stored_all(bus), seconds=60)
    await assert_stored_once(bus, lake, "killed", frame_ids)


async def test_two_gateways_share_the_work_and_one_takes_over_what_the_other_held_when_it_was_killed(
    settings: GatewaySettings, bus: Bus, lake: Lake, supervisor: Supervisor
) -> None:
    env = {
        "FRAMEMESH_NATS_URL": settings.nats_url.get_secret_value(),
        "FRAMEMESH_S3_ENDPOINT": settings.s3_endpoint,
        "FRAMEMESH_S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "FRAMEMESH_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "FRAMEMESH_FRAMES_STREAM_BYTES": str(settings.frames_stream_bytes),
    }
    ports = {"gateway-a": free_port(), "gateway-b": free_port()}
    for name, port in ports.items():
        spec = processes.gateway(env, grpc_port=free_port(), http_port=port, drain_seconds=1)
        await supervisor.start(replace(spec, name=name))
    frame_ids = [await publish(bus, "shared", large_jpeg(100_000, number)) for number in range(200)]
    for port in ports.values():
        assert await metric(port, "framemesh_gateway_frames_total") > 0
    psutil.Process(supervisor.pids()["gateway-a"]).kill()
    frame_ids += [await publish(bus, "shared", jpeg(number)) for number in range(200)]
    await until(lambda: stored_all(bus), seconds=60)
    for name in ports:
        await supervisor.stop(name)
    await assert_stored_once(bus, lake, "shared", frame_ids)


async def test_a_full_stream_refuses_cameras_which_go_on_once_the_lake_is_back(
    settings: GatewaySettings, bus: Bus, lake: Lake
) -> None:
    metrics = IngestMetrics(CollectorRegistry())
    async with behind_proxy(settings, frames_stream_bytes=16 * MIB) as (way, _):
        await way.cut()
        async with Publisher(bus, metrics, camera="full", max_in_flight=64) as publisher:
            frame_ids = [FrameId("full", START_NS + number) for number in range(24)]
            for number, frame_id in enumerate(frame_ids):
                publisher.offer(frame_id, picture(large_jpeg(MIB, number)), sequence=number)
                if number == 11:  # all at once would be more than a camera may hold in memory
                    await until(lambda: metrics.frames.labels("full", "published")._value.get() == 12)
            await until(lambda: metrics.retries.labels("full")._value.get() > 3)
            held = (await bus.js.stream_info(streams.FRAMES)).state
            assert (held.messages, held.bytes > 15 * MIB) == (15, True)
            await way.mend()
        # Leaving the publisher's block has waited until every frame was accepted.
        await until(lambda: stored_all(bus), seconds=60)
        await assert_stored_once(bus, lake, "full", frame_ids)


def picture(body: bytes) -> Picture:
    return Picture(body, "image/jpeg", Size(64, 48))


async def test_a_frame_that_is_sent_again_after_the_dedup_window_is_stored_over_itself(
    settings: GatewaySettings, bus: Bus, lake: Lake
) -> None:
    """Its reference is there twice then, under one id: the lake's tables show it once."""
    frame_id = FrameId("replayed", START_NS)
    try:
        async with gateway(settings):
            for name in (streams.FRAMES, streams.STORED):
                config = (await bus.js.stream_info(name)).config
                await bus.js.update_stream(replace(config, duplicate_window=0.2))
            for _ in range(2):
                await bus.publish("frames.replayed", jpeg(1), {MESSAGE_ID: str(frame_id)}, timeout=5)
                await until(lambda: stored_all(bus))
                await asyncio.sleep(0.5)
        assert len(await lake.keys("replayed/")) == 1
        assert await references(bus, "replayed") == {str(frame_id): 2}
    finally:
        await streams.ensure(bus, settings.stream_sizes())
