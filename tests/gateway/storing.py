"""A gateway whose way to the lake a test cuts, and what came of the frames."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from framemesh.bus import Bus, streams
from framemesh.bus.reading import between
from framemesh.frames import FrameId
from framemesh.lake import Lake
from framemesh.v1.frame_pb2 import StoredFrame
from gateway.app import gateway
from gateway.settings import GatewaySettings
from tests.faults.proxy import Proxy, proxy


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
