"""How cameras are, from an agent's mouth to a client's eyes."""

import asyncio
import json
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import pytest
from prometheus_client import CollectorRegistry

from framemesh.bus import Bus, cameras
from framemesh.bus.streams import CAMERAS_BUCKET
from framemesh.client import AsyncClient
from framemesh.frames import FrameId, timestamp
from framemesh.v1.camera_pb2 import Camera, LineState, SourceState
from gateway.app import Gateway, gateway
from gateway.settings import GatewaySettings
from ingest.delivery import delivering
from ingest.metrics import IngestMetrics
from ingest.pictures import Picture, Size
from ingest.settings import CameraSettings, IngestSettings
from tests.gateway.conftest import until
from tests.pictures import jpeg


def agent(settings: GatewaySettings, *names: str) -> tuple[IngestSettings, list[CameraSettings]]:
    own = [CameraSettings(name=name, source="a.jpg") for name in names]
    listed = json.dumps([{"name": name, "source": "a.jpg"} for name in names])
    return IngestSettings.model_validate({"nats_url": settings.nats_url, "cameras": listed}), own


@pytest.fixture(scope="module")
async def running(settings: GatewaySettings) -> AsyncIterator[Gateway]:
    async with gateway(settings) as running:
        yield running


@pytest.fixture(scope="module")
async def client(running: Gateway) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(f"127.0.0.1:{running.grpc_port}") as client:
        yield client


async def command(*words: str) -> str:
    """What `framemesh` prints."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "framemesh", *words, stdout=PIPE)
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def listed(client: AsyncClient, name: str) -> Camera | None:
    return next((camera for camera in await client.cameras() if camera.name == name), None)


async def test_clients_see_each_camera_as_its_agent_says_it_is_until_that_ends(
    client: AsyncClient, running: Gateway, settings: GatewaySettings
) -> None:
    own, (gate, dark) = agent(settings, "gate", "dark")
    metrics = IngestMetrics(CollectorRegistry())
    async with (
        delivering(own, metrics) as delivery,
        delivery.publisher(gate) as publisher,
        delivery.publisher(dark) as at_dark,
    ):
        taken = time.time_ns()
        publisher.health.captured(taken)
        publisher.offer(FrameId("gate", taken), Picture(jpeg(), "image/jpeg", Size(64, 48)), sequence=1)
        at_dark.health.failed("no route to rtsp://10.0.0.7: is the camera on?")

        async def both() -> bool:
            at_gate, in_dark = await listed(client, "gate"), await listed(client, "dark")
            lost = in_dark is not None and in_dark.source_state == SourceState.SOURCE_STATE_LOST
            return lost and at_gate is not None and at_gate.published_frame_count == 1

        await until(both)
        first, second = await client.cameras()
        place = f"127.0.0.1:{running.grpc_port}"
        lines = (await command("cameras", "--json", "--address", place)).splitlines()
        table = await command("cameras", "--address", place)
    assert (first.name, second.name) == ("dark", "gate")
    assert (first.source_state, second.source_state) == (
        SourceState.SOURCE_STATE_LOST, SourceState.SOURCE_STATE_CAPTURING,
    )  # fmt: skip
    assert second.line_state == LineState.LINE_STATE_SENDING
    assert second.captured_frame_count == 1
    assert second.newest_capture_time == timestamp(taken)
    assert second.newest_published_capture_time == timestamp(taken)
    assert not first.HasField("newest_capture_time")
    assert [json.loads(line)["name"] for line in lines] == ["dark", "gate"]
    assert re.search(r"^dark +lost +0\.0 +0\.0 +none +0 +0 +0 *$", table, re.MULTILINE)
    assert re.search(r"^gate +capturing +\d", table, re.MULTILINE)
    assert "ago: no route to rtsp://10.0.0.7" in table
    await until(partial(nothing, client))


async def nothing(client: AsyncClient) -> bool:
    return not await client.cameras()


async def test_a_watcher_is_told_at_once_and_after_each_change(client: AsyncClient, settings: GatewaySettings) -> None:
    own, (gate,) = agent(settings, "watched")
    seen: list[list[str]] = []

    async def watch() -> None:
        async for found in client.watch_cameras():
            states = [SourceState.Name(camera.source_state) for camera in found]
            seen.append(states)

    watching = asyncio.create_task(watch())
    await until(lambda: seen == [[]])
    async with delivering(own, IngestMetrics(CollectorRegistry())) as delivery, delivery.publisher(gate) as publisher:
        await until(lambda: ["SOURCE_STATE_STARTING"] in seen)
        publisher.health.stalled(11)
        await until(lambda: ["SOURCE_STATE_STALLED"] in seen)
    await until(lambda: seen[-1] == [])
    watching.cancel()


async def test_the_command_goes_on_showing_until_it_is_stopped(running: Gateway, settings: GatewaySettings) -> None:
    own, (gate,) = agent(settings, "shown")
    words = ("cameras", "--watch", "--json", "--address", f"127.0.0.1:{running.grpc_port}")
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "framemesh", *words, stdout=PIPE)
    assert process.stdout is not None
    async with (
        asyncio.timeout(60),
        delivering(own, IngestMetrics(CollectorRegistry())) as delivery,
        delivery.publisher(gate) as publisher,
    ):
        assert json.loads(await process.stdout.readline())["sourceState"] == "SOURCE_STATE_STARTING"
        publisher.health.captured(time.time_ns())
        while json.loads(await process.stdout.readline())["sourceState"] != "SOURCE_STATE_CAPTURING":
            pass
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


async def test_a_camera_whose_agent_fell_silent_is_left_out_and_nonsense_is_passed_over(
    client: AsyncClient, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = await bus.js.key_value(CAMERAS_BUCKET)
    await bucket.put("nonsense", b"{")
    await bucket.put("silent", cameras.dump(Camera(name="silent", heartbeat_time=timestamp(time.time_ns()))))
    await until(partial(listed, client, "silent"))
    assert [camera.name for camera in await client.cameras()] == ["silent"]
    monkeypatch.setattr(cameras, "SILENT_SECONDS", 0.1)
    await until(partial(nothing, client))


@pytest.mark.usefixtures("running")
async def test_each_word_of_a_camera_is_read_once_however_many_others_there_are(
    client: AsyncClient, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[bytes] = Counter()
    load = cameras.load

    def counted(value: bytes) -> Camera | None:
        read[value] += 1
        return load(value)

    monkeypatch.setattr(cameras, "load", counted)
    bucket = await bus.js.key_value(CAMERAS_BUCKET)
    names = [f"many-{number}" for number in range(10)]
    for published in range(3):
        for name in names:
            camera = Camera(name=name, heartbeat_time=timestamp(time.time_ns()), published_frame_count=published)
            await bucket.put(name, cameras.dump(camera))

    async def all_heard() -> bool:
        found = [camera for camera in await client.cameras() if camera.name in names]
        return len(found) == 10 and all(camera.published_frame_count == 2 for camera in found)

    await until(all_heard)
    assert set(read.values()) == {1}
    for name in names:
        await bucket.delete(name)
    await until(partial(nothing, client))
