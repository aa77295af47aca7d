import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from nats.js.api import PubAck
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from framemesh.bus import Bus, streams
from framemesh.errors import BusUnavailableError, ImageTooLargeError
from framemesh.frames import FrameId, arrival
from ingest.metrics import IngestMetrics
from ingest.pictures import Picture, Size
from ingest.publishing import Publisher
from tests.conftest import SIZES
from tests.ingest.media import jpeg
from tests.ingest.watching import frames, stored, until, value

PICTURE = Picture(jpeg(), "image/jpeg", Size(64, 48))


class ForgetfulBus(Bus):
    """Publishes, and loses the receipts of the first times."""

    losses = 2

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], *, timeout: float) -> PubAck:
        receipt = await super().publish(subject, body, headers, timeout=timeout)
        if self.losses:
            self.losses -= 1
            raise BusUnavailableError("the receipt is lost")
        return receipt


class StuckBus(Bus):
    """Publishes nothing until it is let go, and swallows cancellation as nats-py does while it flushes."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus.client)
        self.go = asyncio.Event()

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], *, timeout: float) -> PubAck:
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            raise BusUnavailableError("swallowed") from None
        return await super().publish(subject, body, headers, timeout=timeout)


def ids(camera: str) -> Iterator[FrameId]:
    return (FrameId(camera, captured_ns) for captured_ns in itertools.count(time.time_ns()))


def publisher(bus: Bus, metrics: IngestMetrics, camera: str, *, max_in_flight: int = 8) -> Publisher:
    metrics.start_camera(camera)
    return Publisher(bus, metrics, camera=camera, max_in_flight=max_in_flight)


async def test_a_frame_arrives_with_the_headers_of_the_contract(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    frame_id = FrameId("headers", 1_767_225_600_000_000_007)
    async with publisher(bus, metrics, "headers") as publishing:
        publishing.offer(frame_id, PICTURE, sequence=41)
    (message,) = await stored(bus, "headers")
    assert message.data == PICTURE.body
    assert message.headers == {
        "Nats-Msg-Id": "headers-1767225600000000007",
        "Framemesh-Captured-At": "2026-01-01T00:00:00.000000007Z",
        "Content-Type": "image/jpeg",
        "Framemesh-Width": "64",
        "Framemesh-Height": "48",
        "Framemesh-Seq": "41",
    }
    assert message.time is not None
    assert message.seq is not None
    known = arrival("frames.headers", message.headers, stream_time=message.time, stream_sequence=message.seq)
    assert (known.frame_id, known.camera_sequence) == (frame_id, 41)
    assert frames(registry, "headers", "published") == 1
    assert value(registry, "framemesh_ingest_newest_published_timestamp_seconds", camera="headers") == 1_767_225_600
    assert value(registry, "framemesh_ingest_publish_duration_seconds_count", camera="headers") == 1


async def test_a_frame_whose_receipt_is_lost_is_sent_again_and_kept_once(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    with capture_logs() as lines:
        async with publisher(ForgetfulBus(bus.client), metrics, "lost") as publishing:
            publishing.offer(next(ids("lost")), PICTURE, sequence=1)
    assert len(await stored(bus, "lost")) == 1
    assert frames(registry, "lost", "published") == 1
    assert value(registry, "framemesh_ingest_publish_retries_total", camera="lost") == 2
    assert [line["event"] for line in lines] == ["publish.failing", "publish.recovered"]


async def test_frames_over_the_bound_are_refused_loudly_and_the_rest_arrive(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    stuck = StuckBus(bus)
    with capture_logs() as lines:
        async with publisher(stuck, metrics, "bound", max_in_flight=4) as publishing:
            for sequence, frame_id in enumerate(itertools.islice(ids("bound"), 10)):
                publishing.offer(frame_id, PICTURE, sequence=sequence)
            assert value(registry, "framemesh_ingest_in_flight_frames", camera="bound") == 4
            await until(lambda: frames(registry, "bound", "refused") == 6)
            stuck.go.set()
            await until(lambda: frames(registry, "bound", "published") == 4)
            publishing.offer(FrameId("bound", time.time_ns()), PICTURE, sequence=10)
    sequences = [int((message.headers or {})["Framemesh-Seq"]) for message in await stored(bus, "bound")]
    assert sequences == [0, 1, 2, 3, 10]
    assert value(registry, "framemesh_ingest_in_flight_frames", camera="bound") == 0
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("camera.refusing", "warning"),
        ("camera.accepting", "info"),
    ]
    assert lines[1]["count"] == 6


async def test_a_frame_that_is_too_large_is_counted_and_not_tried_again(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    large = replace(PICTURE, body=bytes(bus.client.max_payload))
    async with publisher(bus, metrics, "large") as publishing:
        publishing.offer(next(ids("large")), large, sequence=1)
        publishing.offer(FrameId("large", time.time_ns()), PICTURE, sequence=2)
    assert frames(registry, "large", "too_large") == 1
    assert frames(registry, "large", "published") == 1
    assert value(registry, "framemesh_ingest_publish_retries_total", camera="large") == 0
    assert len(await stored(bus, "large")) == 1


async def test_a_frame_that_proves_too_large_on_a_retry_ends_there(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    class Shrinking(Bus):
        answers = iter((BusUnavailableError("not now"), ImageTooLargeError("the limit is lower now")))

        async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], *, timeout: float) -> PubAck:
            raise next(self.answers)

    with capture_logs() as lines:
        async with publisher(Shrinking(bus.client), metrics, "shrinking") as publishing:
            publishing.offer(next(ids("shrinking")), PICTURE, sequence=1)
    assert frames(registry, "shrinking", "too_large") == 1
    assert [line["event"] for line in lines] == ["publish.failing", "frame.too_large", "publish.recovered"]


async def test_frames_wait_for_a_stream_that_is_not_made_yet(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    await bus.js.delete_stream(streams.FRAMES)
    with capture_logs() as lines:
        async with publisher(bus, metrics, "early") as publishing:
            for frame_id in itertools.islice(ids("early"), 3):
                publishing.offer(frame_id, PICTURE, sequence=1)
            await until(lambda: value(registry, "framemesh_ingest_publish_retries_total", camera="early") >= 3)
            await streams.ensure(bus, SIZES)
    assert len(await stored(bus, "early")) == 3
    told = [line for line in lines if line["event"] != "streams.sized"]  # that is the test's own `ensure`
    assert [line["event"] for line in told] == ["publish.failing", "publish.recovered"]
    assert "is the gateway running?" in told[0]["error"]


async def test_a_full_stream_refuses_at_the_camera_until_it_is_read(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    await bus.js.purge_stream(streams.FRAMES)
    await streams.ensure(bus, replace(SIZES, frames_bytes=64 * 1024))
    heavy = replace(PICTURE, body=PICTURE.body + bytes(8192))
    store = await bus.js.pull_subscribe_bind(streams.STORE_CONSUMER, stream=streams.FRAMES)
    read: list[bytes] = []
    try:
        async with publisher(bus, metrics, "full", max_in_flight=4) as publishing:
            offered = ids("full")
            taken = 0
            while not value(registry, "framemesh_ingest_publish_retries_total", camera="full"):
                publishing.offer(next(offered), heavy, sequence=1)
                taken += 1
                await until(lambda taken=taken: is_settled(registry, taken))  # type: ignore[misc]
            for _ in range(6):  # three have room beside the one that the stream refuses, three have none
                publishing.offer(next(offered), heavy, sequence=1)
            await until(lambda: frames(registry, "full", "refused") == 3)
            taken += 3
            assert 4 < taken < 12
            while len(read) < taken:
                for message in await store.fetch(1, timeout=60):
                    await message.ack()
                    read.append((message.headers or {})["Nats-Msg-Id"].encode())
    finally:
        await store.unsubscribe()
        await streams.ensure(bus, SIZES)
    assert len(set(read)) == taken
    assert frames(registry, "full", "published") == taken
    assert not await stored(bus, "full")


def is_settled(registry: CollectorRegistry, offered: int) -> bool:
    """Whether every frame of a camera that was offered is published, or the stream is full."""
    retried = value(registry, "framemesh_ingest_publish_retries_total", camera="full")
    return bool(retried) or frames(registry, "full", "published") == offered


async def test_what_is_cut_off_is_counted_and_ends_even_where_the_cancellation_is_swallowed(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    started = asyncio.Event()
    frame_id = next(ids("cut"))

    async def publish() -> None:
        async with publisher(StuckBus(bus), metrics, "cut") as publishing:
            publishing.offer(frame_id, PICTURE, sequence=1)
            started.set()

    with capture_logs() as lines:
        task = asyncio.create_task(publish())
        await started.wait()
        await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(60):
            with pytest.raises(asyncio.CancelledError):
                await task
    assert (lines[-1]["event"], lines[-1]["frames"]) == ("frames.unacknowledged", 1)
    assert frames(registry, "cut", "cut") == 1
