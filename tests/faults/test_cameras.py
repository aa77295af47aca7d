"""Four RTSP cameras while their server is killed and NATS too; then the lake is counted.

`FRAMEMESH_CAMERA_SECONDS` says how long it takes at least: 180 is what a change of the agent should stand.
"""

import asyncio
import json
import os
import re
import signal
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from framemesh.bus import Bus
from framemesh.lake import Lake
from framemesh.mesh.servers import HOST, free_port
from framemesh.mesh.supervision import Supervisor
from gateway.app import gateway
from gateway.settings import GatewaySettings
from tests.gateway.conftest import stored_all
from tests.ingest.rtsp import PASSWORD, USER, RtspServer, rtsp_server
from tests.ingest.test_main import ended, service
from tests.ingest.watching import until

SECONDS = float(os.environ.get("FRAMEMESH_CAMERA_SECONDS", "0"))
STREAMS = {"north": "h264", "east": "hevc", "south": "mjpeg", "west": "h264"}
FAULTS = ("server", "nats", "server", "nats", "server")
_CAPTURED = re.compile(r'framemesh_ingest_captured_frames_total\{camera="(\w+)"\} (\S+)')


async def captured(port: int) -> dict[str, int]:
    """How many frames the agent has captured, by camera; nothing while it starts."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}/metrics") as response:
            return {camera: int(float(count)) for camera, count in _CAPTURED.findall(await response.text())}
    except aiohttp.ClientError:
        return {}


async def all_capture(port: int) -> None:
    """Wait until each camera has captured some more."""
    before = await captured(port)

    async def more() -> bool:
        now = await captured(port)
        return now.keys() == STREAMS.keys() and all(now[name] >= before.get(name, 0) + 5 for name in now)

    await until(more)


async def harm(fault: str, server: RtspServer, supervisor: Supervisor) -> None:
    """Kill the server or NATS, and have it back."""
    if fault == "server":
        server.kill()
        await asyncio.to_thread(server.start)
    else:
        killed = supervisor.pids()["nats"]
        os.kill(killed, signal.SIGKILL)
        await until(lambda: supervisor.pids().get("nats", killed) != killed)


async def numbers(lake: Lake, camera: str) -> Counter[int]:
    """The camera's frames in the lake, by the numbers that it gave them."""
    keys = await lake.keys(f"{camera}/")
    found = await asyncio.gather(*(lake.get(key) for key in keys))
    return Counter(int(metadata["camera-sequence"]) for _, metadata in found)


@pytest.mark.timeout(180 + 2 * SECONDS)
async def test_every_frame_that_was_captured_is_in_the_lake_once(
    nats: str, s3: dict[str, str], bus: Bus, lake: Lake, supervisor: Supervisor, tmp_path: Path
) -> None:
    settings = GatewaySettings(
        nats_url=SecretStr(nats),
        s3_endpoint=s3["FRAMEMESH_S3_ENDPOINT"],
        s3_access_key=SecretStr(s3["FRAMEMESH_S3_ACCESS_KEY"]),
        s3_secret_key=SecretStr(s3["FRAMEMESH_S3_SECRET_KEY"]),
        frames_stream_bytes=256 << 20,
        stored_stream_bytes=64 << 20,
        results_stream_bytes=64 << 20,
        deadletters_stream_bytes=64 << 20,
    )
    streams_of_server = [f"{name}={codec}:64x48@10" for name, codec in STREAMS.items()]
    port = free_port()
    with rtsp_server(*streams_of_server) as server:
        cameras = [
            {
                "name": name, "source": server.url(name), "username": USER, "password": PASSWORD, "stall_seconds": 5,
                "transport": "udp" if name == "west" else "tcp",
            }
            for name in STREAMS
        ]  # fmt: skip
        async with (
            gateway(settings),
            service(
                FRAMEMESH_NATS_URL=nats,
                FRAMEMESH_CAMERAS=json.dumps(cameras),
                FRAMEMESH_SPILL_FOLDER=str(tmp_path / "spill"),
                FRAMEMESH_HTTP_ADDRESS=f"{HOST}:{port}",
            ) as agent,
        ):
            await all_capture(port)
            for fault in FAULTS:
                await harm(fault, server, supervisor)
                await all_capture(port)
                await asyncio.sleep(SECONDS / len(FAULTS))
            assert agent.returncode is None
            counted = await captured(port)
            agent.send_signal(signal.SIGTERM)
            code, log = await ended(agent)
            assert (code, PASSWORD in log) == (0, False), log
            await until(lambda: stored_all(bus))
    for name in STREAMS:
        found = await numbers(lake, name)
        assert found == Counter(range(1, len(found) + 1))
        assert len(found) >= counted[name]
