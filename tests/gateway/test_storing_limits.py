"""What a gateway holds, asks for and refuses while the lake gives no answer: the same whichever the S3 server is."""

import asyncio
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry

from framemesh.bus import Bus, leases, streams
from framemesh.frames import NANOSECONDS, FrameId
from framemesh.lake import Lake
from gateway.settings import GatewaySettings
from ingest.metrics import IngestMetrics
from ingest.pictures import Picture, Size
from ingest.publishing import Publisher
from tests.gateway.conftest import publish, stored_all, until
from tests.gateway.storing import assert_stored_once, behind_proxy, metric, references
from tests.pictures import jpeg, large_jpeg

MIB = 1024 * 1024
START_NS = 1_790_000_000 * NANOSECONDS


async def fetched(bus: Bus, count: int) -> bool:
    """Whether a gateway holds so many frames that aren't stored yet."""
    return ((await bus.js.consumer_info(streams.FRAMES, streams.STORE_CONSUMER)).num_ack_pending or 0) >= count


async def test_large_frames_are_held_up_to_so_many_bytes_however_many_wait(
    settings: GatewaySettings, bus: Bus, lake: Lake
) -> None:
    async with behind_proxy(settings, store_bytes=16 * MIB) as (way, port):
        way.stall()
        frame_ids = [await publish(bus, "large", large_jpeg(3 * MIB, number)) for number in range(12)]
        await until(lambda: fetched(bus, 2))
        await asyncio.sleep(1)  # as many as may come have come
        info = await bus.js.consumer_info(streams.FRAMES, streams.STORE_CONSUMER)
        assert (info.num_ack_pending or 0) <= 5
        assert await metric(port, "framemesh_gateway_storing_bytes") <= 16 * MIB
        await way.mend()
        await until(lambda: stored_all(bus), seconds=60)
        await assert_stored_once(bus, lake, "large", frame_ids)

        async def let_go() -> bool:  # NATS has the last acknowledgement before the gateway lets go of its frame
            return await metric(port, "framemesh_gateway_storing_bytes") == 0

        await until(let_go)


async def test_a_frame_that_a_gateway_was_frozen_with_is_no_longer_its_own(
    settings: GatewaySettings, bus: Bus, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "ACK_WAIT_SECONDS", 1.0)  # so soon NATS gives the frame to somebody else
    async with behind_proxy(settings) as (_, port):
        with monkeypatch.context() as frozen:
            frozen.setattr(leases, "_LAPSED_SECONDS", -1.0)
            frame_id = await publish(bus, "frozen", jpeg(1))
            await until(lambda: metric(port, "framemesh_gateway_frames_total"))
            assert await references(bus, "frozen") == Counter()
        await until(lambda: stored_all(bus), seconds=60)
        await assert_stored_once(bus, lake, "frozen", [frame_id])
    monkeypatch.undo()
    await streams.ensure(bus, settings.stream_sizes())


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
