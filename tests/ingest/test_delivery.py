"""Frames on their way to real NATS servers that are killed, frozen, full, small, strict, or not there."""

import asyncio
import itertools
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image
from prometheus_client import CollectorRegistry

from framemesh.bus import Bus, connect, streams
from framemesh.bus.reading import between
from framemesh.frames import FrameId
from framemesh.mesh.servers import free_port, nats_server, nats_url
from framemesh.mesh.supervision import Supervisor
from ingest.delivery import delivering
from ingest.health import LineState
from ingest.metrics import OUTCOMES, IngestMetrics
from ingest.pictures import Picture, Size, encode
from ingest.publishing import Publisher
from ingest.settings import CameraSettings, IngestSettings
from ingest.spooling import Spool
from tests.conftest import CREDENTIALS, SIZES
from tests.ingest.media import jpeg, size_of
from tests.ingest.test_main import service
from tests.ingest.watching import frames, patiently, stored, value

PICTURE = Picture(jpeg(), "image/jpeg", Size(64, 48))


def settings(url: str, folder: Path | None = None, **others: object) -> IngestSettings:
    return IngestSettings.model_validate(
        {
            "nats_url": url,
            "spill_folder": folder,
            "cameras": json.dumps([{"name": "unused", "source": "a.jpg"}]),
            **others,
        }
    )


def camera(name: str, **others: object) -> CameraSettings:
    return CameraSettings.model_validate({"name": name, "source": "a.jpg", **others})


class Offering:
    """Offers a camera's frames, and knows what it has offered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self._ids = itertools.count(time.time_ns())

    def offer(self, publisher: Publisher, picture: Picture = PICTURE, *, times: int = 1) -> None:
        for _ in range(times):
            self.count += 1
            publisher.offer(FrameId(self.name, next(self._ids)), picture, sequence=self.count)


async def sequences(bus: Bus, name: str) -> list[int]:
    """The camera's frames in the stream, by their numbers, in the stream's own order."""
    return [int((message.headers or {})["Framemesh-Seq"]) for message in await stored(bus, name)]


async def arrived(bus: Bus, count: int) -> bool:
    """Whether so many frames are in the stream."""
    return (await bus.js.stream_info(streams.FRAMES)).state.messages >= count


async def events(bus: Bus, name: str) -> list[str]:
    """What happened to the camera, by the stream of events."""
    last = (await bus.js.stream_info(streams.EVENTS)).state.last_seq
    told = [m async for m in between(bus, streams.EVENTS, 1, last, subject=f"events.cameras.{name}")]
    return [json.loads(message.data)["kind"].removeprefix("CAMERA_EVENT_KIND_") for message in told]


def ended(registry: CollectorRegistry, name: str) -> dict[str, int]:
    """How the camera's frames ended, so far as any did so."""
    counts = {outcome: int(frames(registry, name, outcome)) for outcome in OUTCOMES}
    return {outcome: count for outcome, count in counts.items() if count}


@asynccontextmanager
async def server(supervisor: Supervisor, folder: Path, **others: object) -> AsyncIterator[tuple[str, Bus]]:
    """A NATS server of the test's own, with the streams made."""
    port = free_port()
    spec = replace(nats_server(folder, port, CREDENTIALS, **others), name=f"nats-{port}")  # type: ignore[arg-type]
    await supervisor.start(spec)
    try:
        async with connect(nats_url(port, CREDENTIALS), name="test") as bus:
            await streams.ensure(bus, SIZES)
            yield nats_url(port, CREDENTIALS), bus
    finally:
        await supervisor.stop(spec.name)


def is_another(supervisor: Supervisor, killed: int) -> bool:
    """Whether NATS was started again."""
    return supervisor.pids().get("nats", killed) != killed


async def offer_until(offering: Offering, publisher: Publisher, condition: Callable[[], bool]) -> None:
    """Go on offering until something is so."""

    async def steadily() -> None:
        while True:
            offering.offer(publisher)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(steadily())
    try:
        await patiently(condition)
    finally:
        task.cancel()


async def test_frames_of_an_outage_arrive_once_and_in_order_though_the_server_is_killed_twice(
    nats: str, bus: Bus, supervisor: Supervisor, tmp_path: Path, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    offering = Offering("killed")
    metrics.start_camera("killed")
    async with (
        delivering(settings(nats, tmp_path), metrics) as delivery,
        delivery.publisher(camera("killed")) as publisher,
    ):
        await offer_until(offering, publisher, lambda: frames(registry, "killed", "published") >= 50)
        for _ in range(2):
            killed = supervisor.pids()["nats"]
            os.kill(killed, signal.SIGKILL)
            await offer_until(offering, publisher, lambda: publisher.health.spilled_frames > 20)
            await patiently(partial(is_another, supervisor, killed))
            await offer_until(offering, publisher, lambda: publisher.health.line is LineState.SENDING)
    assert ended(registry, "killed") == {"published": offering.count}
    assert await sequences(bus, "killed") == list(range(1, offering.count + 1))
    told = await events(bus, "killed")
    assert len(told) >= 4
    assert told == ["SPILLING", "DRAINED"] * (len(told) // 2)
    assert value(registry, "framemesh_ingest_buffered_frames", camera="killed") == 0
    assert not list((tmp_path / "killed").glob("*.frames"))


async def test_frames_that_a_frozen_server_does_not_acknowledge_are_on_disk_meanwhile(
    nats: str, bus: Bus, supervisor: Supervisor, tmp_path: Path, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    offering = Offering("frozen")
    metrics.start_camera("frozen")
    async with (
        delivering(settings(nats, tmp_path), metrics) as delivery,
        delivery.publisher(camera("frozen")) as publisher,
    ):
        await offer_until(offering, publisher, lambda: frames(registry, "frozen", "published") >= 20)
        os.kill(supervisor.pids()["nats"], signal.SIGSTOP)
        try:
            await offer_until(
                offering,
                publisher,
                lambda: value(registry, "framemesh_ingest_buffered_frames", camera="frozen") > 30,
            )
        finally:
            os.kill(supervisor.pids()["nats"], signal.SIGCONT)
    assert ended(registry, "frozen") == {"published": offering.count}
    assert await sequences(bus, "frozen") == list(range(1, offering.count + 1))


async def test_a_full_stream_spills_and_what_waited_arrives_once_it_is_read(
    supervisor: Supervisor, tmp_path: Path, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    offering = Offering("full")
    metrics.start_camera("full")
    heavy = replace(PICTURE, body=PICTURE.body + bytes(8192))
    read: list[int] = []
    async with server(supervisor, tmp_path / "nats") as (url, bus):
        await streams.ensure(bus, replace(SIZES, frames_bytes=64 * 1024))
        store = await bus.js.pull_subscribe_bind(streams.STORE_CONSUMER, stream=streams.FRAMES)
        async with (
            delivering(settings(url, tmp_path / "spill"), metrics) as delivery,
            delivery.publisher(camera("full")) as publisher,
        ):
            offering.offer(publisher, heavy, times=60)
            await patiently(lambda: "full" in publisher.health.last_error)
            while len(read) < 60:
                for message in await store.fetch(1, timeout=60):
                    await message.ack()
                    read.append(int((message.headers or {})["Framemesh-Seq"]))
        await store.unsubscribe()
    assert sorted(read) == list(range(1, 61))
    assert ended(registry, "full") == {"published": 60}


async def test_an_agent_starts_without_nats_and_delivers_once_it_and_its_streams_are_there(
    supervisor: Supervisor, tmp_path: Path, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    offering = Offering("early")
    metrics.start_camera("early")
    port = free_port()
    spec = replace(nats_server(tmp_path / "nats", port, CREDENTIALS), name="nats-late")
    async with (
        delivering(settings(nats_url(port, CREDENTIALS), tmp_path / "spill"), metrics) as delivery,
        delivery.publisher(camera("early")) as publisher,
    ):
        offering.offer(publisher, times=100)
        await patiently(lambda: value(registry, "framemesh_ingest_buffered_frames", camera="early") == 100)
        assert delivery.line.problem() is not None
        await supervisor.start(spec)
        await patiently(lambda: "is the gateway running?" in publisher.health.last_error)
        async with connect(nats_url(port, CREDENTIALS), name="test") as bus:
            await streams.ensure(bus, SIZES)
            await patiently(lambda: frames(registry, "early", "published") == 100)
            assert await sequences(bus, "early") == list(range(1, 101))
    await supervisor.stop("nats-late")


async def test_a_connection_that_nats_closed_for_good_is_made_anew(
    nats: str, bus: Bus, tmp_path: Path, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    """Closed as nats-py does it after one message over the limit, which its own check of the body lets pass."""
    offering = Offering("closed")
    metrics.start_camera("closed")
    async with (
        delivering(settings(nats, tmp_path), metrics) as delivery,
        delivery.publisher(camera("closed")) as publisher,
    ):
        first = delivery.line.bus
        assert first is not None
        await first.client.publish("frames.closed", bytes(first.client.max_payload), headers={"Over": "the limit"})
        await patiently(first.closed.is_set)
        offering.offer(publisher, times=10)
    assert delivery.line.bus is not first
    assert await sequences(bus, "closed") == list(range(1, 11))
    assert ended(registry, "closed") == {"published": 10}


async def test_what_a_stop_cuts_off_goes_out_at_the_next_start_before_anything_new(
    nats: str, bus: Bus, tmp_path: Path, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    offering = Offering("stopped")
    metrics.start_camera("stopped")
    nowhere = f"nats://127.0.0.1:{free_port()}"

    async def stopped_in_mid_outage() -> None:
        async with (
            delivering(settings(nowhere, tmp_path), metrics) as delivery,
            delivery.publisher(camera("stopped")) as publisher,
        ):
            offering.offer(publisher, times=30)

    task = asyncio.create_task(stopped_in_mid_outage())
    await patiently(lambda: value(registry, "framemesh_ingest_buffered_frames", camera="stopped") == 30)
    task.cancel()
    await asyncio.wait([task])
    assert ended(registry, "stopped") == {}
    async with (
        delivering(settings(nats, tmp_path), metrics) as delivery,
        delivery.publisher(camera("stopped")) as publisher,
    ):
        offering.offer(publisher, times=5)
    assert await sequences(bus, "stopped") == list(range(1, 36))
    assert ended(registry, "stopped") == {"published": 35}


async def test_frames_over_the_servers_limit_are_encoded_smaller_in_their_place(
    supervisor: Supervisor, tmp_path: Path, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    offering = Offering("large")
    metrics.start_camera("large")
    noise = Image.effect_noise((320, 240), 200).convert("RGB")
    large = encode(noise, quality=95)
    hopeless = Picture(bytes(100_000), "image/jpeg", Size(1, 1))
    async with server(supervisor, tmp_path / "nats", max_payload_bytes=32 * 1024) as (url, bus):
        async with delivering(settings(url), metrics) as delivery, delivery.publisher(camera("large")) as publisher:
            for picture in (PICTURE, large, PICTURE, hopeless, large, PICTURE):
                offering.offer(publisher, picture)
            await patiently(lambda: frames(registry, "large", "published") == 5)
            offering.offer(publisher)
            assert delivery.line.problem() is None
        messages = await stored(bus, "large")
    assert [int((message.headers or {})["Framemesh-Seq"]) for message in messages] == [1, 2, 3, 5, 6, 7]
    for message in messages:
        sent = message.headers or {}
        assert size_of(message.data or b"") == (int(sent["Framemesh-Width"]), int(sent["Framemesh-Height"]))
    assert value(registry, "framemesh_ingest_reencoded_frames_total", camera="large") == 2
    assert ended(registry, "large") == {"published": 6, "too_large": 1}
    assert "no image" in publisher.health.last_error


async def test_an_agent_killed_while_it_spills_sends_what_was_on_disk_at_its_next_start(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    """The next agent finds no server either, and spills behind what is there."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg())
    spill = tmp_path / "spill"
    port = free_port()
    spec = replace(nats_server(tmp_path / "nats", port, CREDENTIALS), name=f"nats-{port}")
    variables = {
        "FRAMEMESH_NATS_URL": nats_url(port, CREDENTIALS),
        "FRAMEMESH_SPILL_FOLDER": str(spill),
        "FRAMEMESH_CAMERAS": json.dumps([{"name": "mortal", "source": str(tmp_path / "photos"), "fps": 50}]),
    }

    def on_disk() -> list[FrameId]:
        """What the agent that was just killed has left."""
        left = Spool(spill / "mortal", max_bytes=1 << 30, leave_bytes=0, keep="oldest")
        found = [kept.frame.frame_id for kept in left.take(10_000, 1 << 40)]
        left.close()
        return found

    def spilled(size_bytes: int) -> bool:
        return sum(path.stat().st_size for path in (spill / "mortal").glob("*.frames")) > size_bytes

    await supervisor.start(spec)
    async with connect(nats_url(port, CREDENTIALS), name="test") as bus:
        await streams.ensure(bus, SIZES)
        async with service(**variables) as agent:
            await patiently(lambda: arrived(bus, 5))
            await supervisor.stop(spec.name)
            await patiently(lambda: spilled(30_000))
            agent.kill()
            await agent.wait()
        left = on_disk()
        async with service(**variables) as agent:
            await patiently(lambda: spilled(60_000))
            await supervisor.start(spec)
            await patiently(lambda: arrived(bus, len(left) + 40))
            agent.terminate()
            await agent.wait()
        assert agent.returncode == 0
        sent = [FrameId.parse((message.headers or {})["Nats-Msg-Id"]) for message in await stored(bus, "mortal")]
    await supervisor.stop(spec.name)
    assert len(left) > 5
    assert set(left) <= set(sent)
    assert sent == sorted(set(sent), key=lambda frame_id: frame_id.captured_ns if frame_id else 0)
    assert not spilled(0)
