"""Frames that wait: in turn with other cameras, within their memory, and whatever happens to their disk."""

import asyncio
import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
from nats.js.api import PubAck
from prometheus_client import CollectorRegistry

from framemesh.bus import Bus
from framemesh.frames import FrameId, headers
from ingest import backlog, publishing
from ingest.backlog import next_batch
from ingest.buffers import Buffer, Frame, Kept, MemoryBuffer, Place
from ingest.metrics import IngestMetrics
from ingest.pictures import Picture, Size
from ingest.publishing import Publisher
from ingest.spooling import Spool
from tests.ingest.media import jpeg
from tests.ingest.test_publishing import StuckBus
from tests.ingest.watching import frames, patiently, stored

PICTURE = Picture(jpeg(), "image/jpeg", Size(64, 48))


class WatchedBus(Bus):
    """Publishes, and notes what was under way at once and in which order cameras were served."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus.client)
        self.under_way: Counter[str] = Counter()
        self.most_cameras = 0
        self.most_frames = 0
        self.served: list[str] = []

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], *, timeout: float) -> PubAck:
        self.under_way[subject] += 1
        self.most_cameras = max(self.most_cameras, sum(count > 1 for count in self.under_way.values()))
        self.most_frames = max(self.most_frames, self.under_way[subject])
        try:
            return await super().publish(subject, body, headers, timeout=timeout)
        finally:
            self.under_way[subject] -= 1
            self.served.append(subject)


class SlowBuffer(MemoryBuffer):
    """Keeps nothing until it is let."""

    def __init__(self) -> None:
        super().__init__(max_frames=1000, max_bytes=1 << 30, keep="oldest")
        self.asked = threading.Event()
        self.go = threading.Event()

    def append(self, frames: Sequence[Frame]) -> list[Place | None]:
        self.asked.set()
        self.go.wait(60)
        return super().append(frames)


class UnreadableBuffer(MemoryBuffer):
    """Has frames, and can't be read until it is let."""

    def __init__(self) -> None:
        super().__init__(max_frames=1000, max_bytes=1 << 30, keep="oldest")
        self.readable = False
        self.asked = 0

    def take(self, frames: int, size_bytes: int) -> list[Kept]:
        self.asked += 1
        return super().take(frames, size_bytes) if self.readable else []


def waiting(camera: str, count: int) -> Buffer:
    """A buffer that has frames from before."""
    buffer = MemoryBuffer(max_frames=count, max_bytes=1 << 30, keep="oldest")
    buffer.append([frame(camera, number) for number in range(1, count + 1)])
    return buffer


def frame(camera: str, number: int) -> Frame:
    frame_id = FrameId(camera, 1_767_225_600_000_000_000 + number)
    words = headers(frame_id, content_type="image/jpeg", width_px=64, height_px=48, sequence=number)
    return Frame(frame_id, PICTURE.body, words)


def is_published(registry: CollectorRegistry, count: int) -> bool:
    return frames(registry, "diskless", "published") == count


@pytest.mark.parametrize(
    ("sent", "took_seconds", "following"),
    [(1, 0.01, 2), (16, 0.2, 32), (32, 0.01, 32), (8, 0.5, 8), (8, 1.5, 4), (1, 9.0, 1)],
)
def test_a_batch_grows_while_it_is_quick_and_shrinks_where_it_is_slow(
    sent: int, took_seconds: float, following: int
) -> None:
    assert next_batch(sent, took_seconds) == following


async def test_cameras_send_what_waited_in_turn_and_not_one_is_served_last(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "_QUICK_SECONDS", math.inf)  # batches grow however slow this machine is
    watched = WatchedBus(bus)
    names = [f"turn-{number}" for number in range(3)]
    turns = asyncio.Semaphore(2)
    async with AsyncExitStack() as stack:
        for name in names:
            metrics.start_camera(name)
            buffer = partial(waiting, name, 100)
            await stack.enter_async_context(
                Publisher(watched, metrics, camera=name, max_in_flight=8, buffer=buffer, turns=turns)
            )
    assert watched.most_cameras <= 2
    assert watched.most_frames == 32
    half = Counter(watched.served[: len(watched.served) // 2])
    assert len(half) == len(names)
    assert min(half.values()) >= 15
    for name in names:
        assert frames(registry, name, "published") == 100
        numbers = [int((message.headers or {})["Framemesh-Seq"]) for message in await stored(bus, name)]
        assert numbers == list(range(1, 101))


async def test_memory_is_bounded_in_bytes_while_the_buffer_can_not_keep_up(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "MEMORY_BYTES", 20 * len(PICTURE.body))
    metrics.start_camera("slow")
    buffer = SlowBuffer()
    identities = (FrameId("slow", captured_ns) for captured_ns in itertools.count(time.time_ns()))
    async with Publisher(bus, metrics, camera="slow", max_in_flight=2, buffer=lambda: buffer) as publisher:
        for number in range(1, 51):
            publisher.offer(next(identities), PICTURE, sequence=number)
        refused = frames(registry, "slow", "refused")
        assert refused == 30
        buffer.go.set()
    assert frames(registry, "slow", "published") == 20
    assert "faster than the buffer" in publisher.health.last_error
    assert len(await stored(bus, "slow")) == 20


async def test_frames_whose_receipts_come_while_they_are_put_into_the_buffer_are_sent_and_counted_once(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    metrics.start_camera("landing")
    stuck, buffer = StuckBus(bus), SlowBuffer()
    async with Publisher(stuck, metrics, camera="landing", max_in_flight=2, buffer=lambda: buffer) as publisher:
        for number in range(1, 4):
            publisher.offer(FrameId("landing", time.time_ns()), PICTURE, sequence=number)
        await patiently(buffer.asked.is_set)
        stuck.go.set()
        await patiently(lambda: frames(registry, "landing", "published") == 2)
        buffer.go.set()
    assert frames(registry, "landing", "published") == 3
    assert [int((message.headers or {})["Framemesh-Seq"]) for message in await stored(bus, "landing")] == [1, 2, 3]


async def test_a_folder_that_can_not_be_used_leaves_a_camera_its_memory(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    metrics.start_camera("diskless")
    buffer = partial(Spool, tmp_path / "file" / "diskless", max_bytes=1 << 20, leave_bytes=0, keep="oldest")
    async with Publisher(bus, metrics, camera="diskless", max_in_flight=2, buffer=buffer) as publisher:
        assert "frames wait in memory alone" in publisher.health.last_error
        for number in range(1, 4):
            publisher.offer(FrameId("diskless", time.time_ns()), PICTURE, sequence=number)
            await patiently(partial(is_published, registry, number))
    assert len(await stored(bus, "diskless")) == 3


async def test_a_buffer_that_can_not_be_read_for_now_is_asked_again(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    metrics.start_camera("unread")
    buffer = UnreadableBuffer()
    buffer.append([frame("unread", number) for number in (1, 2)])
    async with Publisher(bus, metrics, camera="unread", max_in_flight=2, buffer=lambda: buffer):
        await patiently(lambda: buffer.asked >= 3)
        buffer.readable = True
    assert frames(registry, "unread", "published") == 2
    assert [int((message.headers or {})["Framemesh-Seq"]) for message in await stored(bus, "unread")] == [1, 2]


async def test_a_buffer_that_can_not_be_read_for_now_is_not_asked_without_a_pause(
    bus: Bus, metrics: IngestMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "_FIRST_RETRY_SECONDS", 3600.0)
    monkeypatch.setattr(backlog, "_LAST_RETRY_SECONDS", 3600.0)
    metrics.start_camera("paused")
    buffer = UnreadableBuffer()
    buffer.append([frame("paused", 1)])

    async def offer() -> None:
        async with Publisher(bus, metrics, camera="paused", max_in_flight=2, buffer=lambda: buffer) as publisher:
            await patiently(lambda: buffer.asked >= 1)
            for number in range(2, 22):
                publisher.offer(FrameId("paused", time.time_ns()), PICTURE, sequence=number)
                await patiently(lambda number=number: buffer.frames == number)  # type: ignore[misc]
            assert buffer.asked == 1
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await offer()
