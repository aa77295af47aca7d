"""`python -m benchmarks.pipeline.replay`: replay against the model server's own capacity, and what live frames lose.

A gateway, an archiver and a server of EfficientNet-Lite0, each a process of its own. First the server alone, as fast as
it goes; then `framemesh replay` over stored frames, twice: the second time must write nothing. Then live frames with
and without a replay beside them, in interleaved rounds: a slow camera under `every`, and one that is faster than the
model under `latest`.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.pipeline.rig import Rig, publish, rig
from benchmarks.serving import model, photos
from framemesh.bench import ClosedLoop, Measured, bench, percentile
from framemesh.bus import streams
from framemesh.client import AsyncClient
from framemesh.frames import FrameId, object_key
from framemesh.mesh import processes
from framemesh.mesh.servers import HOST, free_port
from framemesh.query import LakePlace, tables
from framemesh.specs import parse
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.result_pb2 import Result

_NAME = "lite0"
_SECONDS = 10.0
_ROUNDS = 3
_SLOW, _FAST = 0.2, 1.5  # of what the model server does alone
_FIRST_NS = 1_780_000_000_000_000_000
_IN_FLIGHT = 64


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=5000, help="how many to replay")
    parser.add_argument("--cache", type=Path, default=Path(__file__).parents[2] / ".bench", help="for the model")
    arguments = parser.parse_args()
    cache = arguments.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    source, _ = await asyncio.to_thread(model.make, cache)
    image = min(photos.make("640x480", cache).iterdir()).read_bytes()
    async with rig() as running:
        site = await _start(running, source, cache)
        async with AsyncClient(site.gateway) as client:
            await client.deploy(parse(f"{_NAME}={source},policy=every,camera=live"))
            keys = await _store(running, image, arguments.frames)
            capacity = await _capacity(site.server, image)
            await _replay(running, site, keys, capacity)
            for policy, part in (("every", _SLOW), ("latest", _FAST)):
                await client.deploy(parse(f"{_NAME}={source},policy={policy},camera=live"))
                await _beside(running, client, keys, image, policy=policy, fps=part * capacity)


@dataclass(frozen=True, slots=True)
class _Site:
    gateway: str
    server: str


async def _start(running: Rig, source: Path, cache: Path) -> _Site:
    gateway = await running.start_gateway()
    await running.supervisor.start(processes.archiver(running.env, http_port=free_port()))
    port = free_port()
    spec = parse(f"{_NAME}={source}")
    prepared = model.prepared_cache(cache)
    await running.supervisor.start(
        processes.model_server(running.env, spec, 0, cache=prepared, grpc_port=port, http_port=free_port())
    )
    return _Site(f"{HOST}:{gateway}", f"{HOST}:{port}")


async def _store(running: Rig, image: bytes, count: int) -> list[str]:
    """Publish frames of the past, and wait until all are stored; returns their keys."""
    room = asyncio.Semaphore(_IN_FLIGHT)
    times = [_FIRST_NS + number * 33_333_333 for number in range(count)]

    async def send(number: int) -> None:
        async with room:
            await publish(running.bus, "past", times[number], image, number)

    await asyncio.gather(*(send(number) for number in range(count)))
    while (await running.bus.js.stream_info(streams.STORED)).state.messages < count:
        await asyncio.sleep(0.1)
    return [object_key(FrameId("past", captured_ns), "image/jpeg") for captured_ns in times]


async def _capacity(address: str, image: bytes) -> float:
    """Answers a second of the server alone."""
    measured: list[Measured] = []
    await bench(address, [image], [ClosedLoop(4, _SECONDS)], options=AnswerOptions(), on_result=measured.append)
    print(f"the model server alone answers {measured[0].throughput:.1f} a second")
    return measured[0].throughput


async def _replay(running: Rig, site: _Site, keys: list[str], capacity: float) -> None:
    for turn in ("first", "second"):
        before = (await running.bus.js.stream_info(streams.RESULTS)).state.last_seq
        started, spent = time.perf_counter(), running.cpu_seconds()
        told = await _command(running, site)
        took = time.perf_counter() - started
        written = (await running.bus.js.stream_info(streams.RESULTS)).state.last_seq - before
        cpu = {name: (now - spent[name]) / len(keys) * 1e3 for name, now in running.cpu_seconds().items()}
        print(f"{turn} replay: {told}, {written} results written, {took:.1f} s with the command's start and end")
        if turn == "first":
            rate = written / took
            shares = ", ".join(f"{name} {cost:.2f}" for name, cost in cpu.items())
            print(f"  {rate:.1f} frames/s, {rate / capacity:.2f} of the server alone; ms of CPU a frame: {shares}")
    place = LakePlace(*(running.env[f"FRAMEMESH_S3_{name}"] for name in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY")))
    async with running.lake("frames") as lake:
        objects = len(await lake.keys("past/"))
    with tables(place) as lake_tables:
        counted = [lake_tables.ask(f"SELECT count(*) FROM {name}_files").rows[0][0] for name in ("frames", "results")]  # noqa: S608
    stream = (await running.bus.js.stream_info(streams.RESULTS)).state.messages
    print(f"bucket {objects} frames, table {counted[0]} frames; stream {stream} results, table {counted[1]} results")


async def _command(running: Rig, site: _Site) -> dict[str, Any]:
    env = {**os.environ, **running.env, "FRAMEMESH_ADDRESS": site.gateway}
    words = (sys.executable, "-m", "framemesh", "replay", "--model", _NAME, "--camera", "past", "--json")
    process = await asyncio.create_subprocess_exec(*words, env=env, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


@dataclass(slots=True)
class _Live:
    """How live frames fared: ages of their frames when answers came, in seconds, and answers a second."""

    ages: list[float] = field(default_factory=list)
    rate: float = 0.0


async def _beside(running: Rig, client: AsyncClient, keys: list[str], image: bytes, *, policy: str, fps: float) -> None:
    rounds: dict[bool, list[_Live]] = {False: [], True: []}
    replayed = []
    for _ in range(_ROUNDS):
        for replaying in (False, True):
            async with _replaying(client, keys if replaying else []) as done:
                rounds[replaying].append(await _live(running, image, fps))
            replayed.append(done[-1] / _SECONDS if replaying and done else 0.0)
    print(f"live frames under {policy}, {fps:.0f} a second; median of {_ROUNDS} rounds:")
    for replaying, lives in rounds.items():
        p50, p99 = (median(percentile(live.ages, percent) or 0.0 for live in lives) for percent in (50, 99))
        rate = median(live.rate for live in lives)
        words = f"with a replay of {median(filter(None, replayed)):.1f} frames/s" if replaying else "alone"
        print(f"  {words:36} {rate:6.1f} answers/s, age p50 {p50 * 1e3:6.1f} ms, p99 {p99 * 1e3:6.1f} ms")


@asynccontextmanager
async def _replaying(client: AsyncClient, keys: list[str]) -> AsyncIterator[list[int]]:
    """A replay beside the block, which may read how many frames it has answered."""
    done: list[int] = []

    async def run() -> None:
        async for response in client.replay(_NAME, keys, again=True):
            done.append(response.succeeded_count)  # noqa: PERF401 - as it comes

    task = asyncio.create_task(run()) if keys else None
    await asyncio.sleep(1)
    try:
        yield done
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))


async def _live(running: Rig, image: bytes, fps: float) -> _Live:
    """Live frames for a while."""
    live = _Live()

    async def take(message: Any) -> None:
        result = Result.FromString(message.data)
        age_ns = result.answer_time.ToNanoseconds() - result.frame.capture_time.ToNanoseconds()
        live.ages.append(age_ns / 1e9)

    subscription = await running.bus.client.subscribe(f"results.{_NAME}.live", cb=take)
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(fps * _SECONDS)):
            await asyncio.sleep(max(0.0, began + number / fps - time.monotonic()))
            group.create_task(publish(running.bus, "live", time.time_ns(), image, number))
    await asyncio.sleep(0.5)
    live.rate = len(live.ages) / (time.monotonic() - began)
    await subscription.unsubscribe()
    return live


if __name__ == "__main__":
    asyncio.run(main())
