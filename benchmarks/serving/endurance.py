"""`python -m benchmarks.serving.endurance`: what our server does when too much is asked of it, and for long.

Prints how soon it serves a model that was exported before; the p50 of lone calls against a server that never batches,
in alternating rounds; the share of answers that come in time where twice as much is asked as the server can do, each
call with half a second, and how soon what is too much is refused; and how much memory many calls with images of mixed
sizes add.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

import grpc
import psutil
from PIL import Image

from benchmarks.serving import model, photos
from benchmarks.serving.contestants import free_ports
from benchmarks.serving.driving import percentile
from benchmarks.serving.order import HOST
from framemesh.rpc.channels import open_channel
from framemesh.v1.inference_service_pb2 import InferRequest
from framemesh.v1.inference_service_pb2_grpc import InferenceServiceStub

_ROUNDS = 5
_STARTS = 3
_LONE_CALLS = 60
_OVERLOAD_SECONDS = 20.0
_DEADLINE_SECONDS = 0.5
_IN_FLIGHT = 16
_MIXED_SIZES = ((97, 61), (320, 240), (640, 480), (1280, 720), (800, 1200))
_TINY = """
import sys
from pathlib import Path
from tests.model_server.tiny import make
make("mobilenet", Path(sys.argv[1]))
"""


Outcomes = defaultdict[str, list[float]]
"""How long calls took in seconds, by the status with which they ended."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running model server. `ready_seconds` passed from its start to its first answer."""

    stub: Any
    process: psutil.Process
    http_port: int
    ready_seconds: float

    def counted(self, name: str) -> float:
        """The sum of a metric's samples of that name."""
        with urlopen(f"http://{HOST}:{self.http_port}/metrics") as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name + "{"))


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.endurance", description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path(".bench"), help="for models and logs")
    parser.add_argument("--requests", type=int, default=100_000, help="of mixed sizes, for the memory")
    arguments = parser.parse_args()
    cache = arguments.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    source, _ = model.make(cache)
    folder = photos.make("640x480", cache)
    images = [path.read_bytes() for path in sorted(folder.iterdir())]
    for _ in range(_STARTS):
        async with serving(source, cache) as server:
            print(f"start: ready after {server.ready_seconds:.2f} s")
    async with serving(source, cache) as server, serving(source, cache, FRAMEMESH_MAX_BATCH="1") as unbatched:
        await lone_calls(server, unbatched, images)
    async with serving(source, cache) as server:
        await overload(server, images)
    async with serving(tiny_model(cache), cache) as server:
        await endure(server, arguments.requests)


def tiny_model(cache: Path) -> Path:
    """The folder of a model that takes next to nothing, made by a process of its own."""
    folder = cache / "models" / "tiny-mobilenet"
    if not folder.exists():
        subprocess.run([sys.executable, "-c", _TINY, str(folder)], check=True)
    return folder


@asynccontextmanager
async def serving(source: Path, cache: Path, **variables: str) -> AsyncIterator[Server]:
    """A model server that answers, around the block."""
    port, http_port = free_ports(2)
    environment = {
        "FRAMEMESH_MODEL_NAME": "bench",
        "FRAMEMESH_MODEL_SOURCE": str(source),
        "FRAMEMESH_MODEL_CACHE": str(model.prepared_cache(cache)),
        "FRAMEMESH_GRPC_ADDRESS": f"{HOST}:{port}",
        "FRAMEMESH_HTTP_ADDRESS": f"{HOST}:{http_port}",
        "FRAMEMESH_LOG_LEVEL": "warning",
        **variables,
    }
    began = time.perf_counter()
    process = psutil.Popen([sys.executable, "-m", "model_server"], env={**psutil.Process().environ(), **environment})
    try:
        async with open_channel(f"{HOST}:{port}") as channel:
            stub = InferenceServiceStub(channel)
            lone = InferRequest(image=_jpeg(64, 48))
            while True:
                try:
                    await stub.Infer(lone, timeout=60, wait_for_ready=True)
                    break
                except grpc.aio.AioRpcError as error:
                    if error.code() != grpc.StatusCode.UNAVAILABLE or process.poll() is not None:
                        raise
                    await asyncio.sleep(0.01)
            yield Server(stub, process, http_port, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait(30)


async def lone_calls(server: Server, unbatched: Server, images: Sequence[bytes]) -> None:
    """How long one call at a time takes, with and without batching."""
    ratios = []
    for _ in range(_ROUNDS):
        p50 = [await _p50(one, images) for one in (server, unbatched)]
        ratios.append(p50[0] / p50[1])
        print(f"lone calls: p50 {p50[0] * 1e3:.2f} ms, never batched {p50[1] * 1e3:.2f} ms")
    print(f"lone calls: {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) of unbatched")


async def _p50(server: Server, images: Sequence[bytes]) -> float:
    took = []
    for number in range(_LONE_CALLS):
        started = time.perf_counter()
        await server.stub.Infer(InferRequest(image=images[number % len(images)]), timeout=30)
        took.append(time.perf_counter() - started)
    return median(took)


async def overload(server: Server, images: Sequence[bytes]) -> None:
    """Ask twice what the server can do, each call with half a second."""
    answered = Outcomes(list)
    started = time.perf_counter()
    for _ in range(10):  # few enough at once that none is refused
        await asyncio.gather(
            *(_ask(server, images[number % len(images)], 30.0, answered) for number in range(_IN_FLIGHT))
        )
    capacity = len(answered["OK"]) / (time.perf_counter() - started)
    decoded_before = server.counted("framemesh_model_server_preprocess_duration_seconds_count")
    outcomes = Outcomes(list)
    calls: list[asyncio.Task[None]] = []
    began = time.perf_counter()
    while (elapsed := time.perf_counter() - began) < _OVERLOAD_SECONDS:
        while len(calls) < elapsed * 2 * capacity:
            body = images[len(calls) % len(images)]
            calls.append(asyncio.create_task(_ask(server, body, _DEADLINE_SECONDS, outcomes)))
        await asyncio.sleep(0.005)
    await asyncio.gather(*calls)
    decoded = server.counted("framemesh_model_server_preprocess_duration_seconds_count") - decoded_before
    print(f"overload: capacity {capacity:.0f}/s, asked {len(calls) / elapsed:.0f}/s; {_counts(outcomes)}")
    in_time = len(outcomes["OK"])
    print(
        f"overload: {in_time} answers in time of {decoded:.0f} images worked on: {in_time / decoded:.3f}; "
        f"{in_time / elapsed / capacity:.2f} of the capacity; p99 {percentile(outcomes['OK'], 0.99) * 1e3:.0f} ms"
    )
    p50, p99 = (percentile(outcomes["RESOURCE_EXHAUSTED"], share) * 1e3 for share in (0.5, 0.99))
    print(f"overload: refused within {p50:.1f} ms (p50), {p99:.1f} ms (p99)")


async def _ask(server: Server, body: bytes, timeout: float, outcomes: Outcomes) -> None:
    started = time.perf_counter()
    try:
        await server.stub.Infer(InferRequest(image=body), timeout=timeout)
        status = "OK"
    except grpc.aio.AioRpcError as error:
        status = error.code().name
    outcomes[status].append(time.perf_counter() - started)


def _counts(outcomes: Outcomes) -> dict[str, int]:
    return {status: len(took) for status, took in outcomes.items()}


async def endure(server: Server, count: int) -> None:
    """Send many calls with images of mixed sizes."""
    images = [_jpeg(*size) for size in _MIXED_SIZES]
    numbers = iter(range(count))
    outcomes = Outcomes(list)
    memory: list[float] = []

    async def sender() -> None:
        for number in numbers:
            if number % max(1, count // 10) == 0:
                memory.append(server.process.memory_info().rss / 1e6)
            await _ask(server, images[number * 7919 % len(images)], 60.0, outcomes)

    await asyncio.gather(*(sender() for _ in range(_IN_FLIGHT)))
    memory.append(server.process.memory_info().rss / 1e6)
    megabytes = ", ".join(f"{size:.1f}" for size in memory)
    print(f"endurance: {_counts(outcomes)}; RSS in MB every {count // 10:,} calls: {megabytes}")
    print(f"endurance: {memory[-1] - memory[1]:+.1f} MB since the first tenth")


def _jpeg(width: int, height: int) -> bytes:
    out = BytesIO()
    Image.effect_noise((width, height), 40).convert("RGB").save(out, "JPEG", quality=85)
    return out.getvalue()


if __name__ == "__main__":
    asyncio.run(main())
