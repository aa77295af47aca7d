"""`python -m benchmarks.console`: what watching costs, and what it does to the pipeline.

16 cameras send 10 frames a second each, a model answers every frame, and 0 or 5 pages watch all of it, in turn. A page
is here the websocket of one, which says at once that it has painted: what a browser adds to the age is not in it.
"""

import asyncio
import json
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from statistics import median

import psutil
from aiohttp import ClientSession, ClientWebSocketResponse

from benchmarks.frames import noise_jpeg
from benchmarks.pipeline.rig import Rig, publish, rig
from benchmarks.pipeline.traffic import p50_p99_ms
from framemesh.bus import streams
from framemesh.bus.reading import between
from framemesh.client import AsyncClient
from framemesh.mesh import processes
from framemesh.mesh.servers import HOST, free_port
from framemesh.v1.frame_pb2 import StoredFrame
from framemesh.waiting import cancelled

_CAMERAS = [f"gate-{number}" for number in range(16)]
_FPS = 10
_SECONDS = 10
_PAGES = (0, 5, 0, 5)
_MODEL = "echo"
_SETTLE_SECONDS = 60.0


@dataclass(slots=True)
class Round:
    """What one round measured; CPU in cores."""

    pages: int
    stored_seconds: list[float] = field(default_factory=list)
    shown_seconds: list[float] = field(default_factory=list)
    cores: dict[str, float] = field(default_factory=dict)
    machine: float = 0.0


async def main() -> None:
    """Measure and print."""
    body = noise_jpeg(100_000)
    async with rig() as bench:
        grpc_port = await bench.start_gateway()
        port = free_port()
        console = processes.console(bench.env, gateway=f"{HOST}:{grpc_port}", port=port, http_port=free_port())
        await bench.supervisor.start(console)
        async with AsyncClient(f"{HOST}:{grpc_port}") as client:
            await bench.start_models(client, _MODEL)
        print(f"{len(_CAMERAS)} cameras, {_FPS} frames/s each, {len(body):,} bytes a frame, {_SECONDS} s a round")
        rounds = [await _round(bench, body, pages, port) for pages in _PAGES]
    unwatched, watched = ([one for one in rounds if bool(one.pages) == wanted] for wanted in (False, True))
    for name in ("nats", "gateway", "s3"):
        before, after = (median(one.cores[name] for one in some) for some in (unwatched, watched))
        print(f"{name}: {after / before:.2f} of its CPU while nobody watches ({before:.2f} cores)")
    before, after = (median(median(one.stored_seconds) for one in some) for some in (unwatched, watched))
    print(f"stored after: {after / before:.2f} of the median while nobody watches ({1e3 * before:.1f} ms)")


async def _round(bench: Rig, body: bytes, pages: int, port: int) -> Round:
    found = Round(pages)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(
            ClientSession(f"http://{HOST}:{port}", headers={"Origin": f"http://{HOST}:{port}"})
        )
        watching = []
        for _ in range(pages):
            socket = await stack.enter_async_context(session.ws_connect("/live/stream", max_msg_size=0))
            watching.append(asyncio.create_task(_watch(socket, found.shown_seconds)))
        await _send(bench, body, seconds=3)
        found.shown_seconds.clear()
        first = (await bench.bus.js.stream_info(streams.STORED)).state.last_seq + 1
        before, began = bench.cpu_seconds(), time.monotonic()
        psutil.cpu_percent()
        sent = await _send(bench, body, seconds=_SECONDS)
        took = time.monotonic() - began
        found.machine = psutil.cpu_percent() / 100
        found.cores = {name: (seconds - before[name]) / took for name, seconds in bench.cpu_seconds().items()}
        await cancelled(*watching)
    async with asyncio.timeout(_SETTLE_SECONDS):
        while (last := (await bench.bus.js.stream_info(streams.STORED)).state.last_seq) < first + sent - 1:
            await asyncio.sleep(0.05)
    async for message in between(bench.bus, streams.STORED, first, last):
        stored = StoredFrame.FromString(message.data)
        age_ns = stored.store_time.ToNanoseconds() - stored.frame.capture_time.ToNanoseconds()
        found.stored_seconds.append(age_ns / 1e9)
    stored_ms = p50_p99_ms(found.stored_seconds)
    print(
        f"{pages} pages: console {found.cores['console']:.2f} cores; stored after p50 {stored_ms[0]:.1f} "
        f"p99 {stored_ms[1]:.1f} ms; machine {found.machine:.0%} busy"
    )
    if pages:
        shown_ms = p50_p99_ms(found.shown_seconds)
        rate = len(found.shown_seconds) / took / pages / len(_CAMERAS)
        print(f"  a picture is p50 {shown_ms[0]:.0f} p99 {shown_ms[1]:.0f} ms old; {rate:.1f} a second of each camera")
    return found


async def _send(bench: Rig, body: bytes, *, seconds: float) -> int:
    """Publish frames of all cameras evenly, each from its own moment on; returns how many."""
    began = time.perf_counter()
    count = int(len(_CAMERAS) * _FPS * seconds)
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(began + number / (len(_CAMERAS) * _FPS) - time.perf_counter())
            camera = _CAMERAS[number % len(_CAMERAS)]
            group.create_task(publish(bench.bus, camera, time.time_ns(), body, number))
    return count


async def _watch(socket: ClientWebSocketResponse, ages: list[float]) -> None:
    """Be a page: ask for everything, take what comes, and note how old it is."""
    await socket.send_json({"camera": None, "models": [_MODEL]})
    with suppress(TypeError):  # it was closed
        while True:
            message = await socket.receive_bytes()
            now_ns = time.time_ns()
            head = json.loads(message[4 : 4 + int.from_bytes(message[:4])])
            ages += [(now_ns - int(frame["id"].rpartition("-")[2])) / 1e9 for frame in head["frames"]]
            await socket.send_json({"painted": 1 if head["frames"] else 0})


if __name__ == "__main__":
    asyncio.run(main())
