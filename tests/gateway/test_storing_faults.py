"""Storing while the lake is away or killed, and while a gateway is killed, on each S3 server."""

from dataclasses import replace

import psutil
import pytest
from structlog.testing import capture_logs

from framemesh.bus import Bus, streams
from framemesh.frames import MESSAGE_ID, NANOSECONDS, FrameId
from framemesh.lake import Lake
from framemesh.mesh import processes
from framemesh.mesh.servers import free_port
from framemesh.mesh.supervision import Supervisor
from gateway.app import gateway
from gateway.settings import GatewaySettings
from tests.gateway.conftest import publish, stored_all, until
from tests.gateway.storing import assert_stored_once, behind_proxy, metric, references
from tests.pictures import jpeg, large_jpeg
from tests.stores import STORES

START_NS = 1_790_000_000 * NANOSECONDS


@pytest.fixture(scope="module", params=STORES)
def s3_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


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


async def told_none(port: int) -> bool:
    return await metric(port, "framemesh_gateway_waiting_frames") == 0


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
        while not await metric(port, "framemesh_gateway_frames_total"):  # the other may have been quicker
            frame_ids.append(await publish(bus, "shared", large_jpeg(100_000, len(frame_ids))))
    psutil.Process(supervisor.pids()["gateway-a"]).kill()
    frame_ids += [await publish(bus, "shared", jpeg(number)) for number in range(200)]
    await until(lambda: stored_all(bus), seconds=60)
    for name in ports:
        await supervisor.stop(name)
    await assert_stored_once(bus, lake, "shared", frame_ids)


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

            async def stored_again() -> bool:  # once NATS has forgotten the frame and its reference
                await bus.publish("frames.replayed", jpeg(1), {MESSAGE_ID: str(frame_id)}, timeout=60)
                await until(lambda: stored_all(bus))
                return (await references(bus, "replayed"))[str(frame_id)] == 2

            await until(stored_again)
        assert len(await lake.keys("replayed/")) == 1
        assert await references(bus, "replayed") == {str(frame_id): 2}
    finally:
        await streams.ensure(bus, settings.stream_sizes())
