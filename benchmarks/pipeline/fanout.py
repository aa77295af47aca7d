"""`python -m benchmarks.pipeline.fanout`: what the gateway's CPU costs for each frame and model, for 1 to 16 models.

Frames come at a camera's pace and every model sees each of them, on servers that answer at once. What storing alone
costs is measured in the same rounds, without any model, and taken off. `--quick` measures 1 and 16 models once.
"""

import asyncio
import sys
import time
from statistics import median

from benchmarks.frames import noise_jpeg
from benchmarks.pipeline.rig import Rig, publish, rig
from framemesh.bus import streams
from framemesh.bus.states import unfinished
from framemesh.client import AsyncClient
from framemesh.mesh.servers import HOST

_ROUNDS = 3
_MODELS = (0, 1, 2, 4, 8, 16)
_FRAMES = 300
_FPS = 30.0
_WARM_UP_FRAMES = 30
_LIMIT = 1.10


async def main(rounds: int, counts: tuple[int, ...]) -> None:
    """Measure and print."""
    body = noise_jpeg(100_000)
    print(f"{rounds} rounds of {_FRAMES} frames of {len(body):,} bytes at {_FPS:g} a second, each seen by every model")
    costs: dict[int, list[float]] = {count: [] for count in counts}
    async with rig() as bench:
        for _ in range(rounds):
            for count in counts:
                costs[count].append(await _gateway_ms_per_frame(bench, body, count))
    storing = median(costs.pop(0))
    print(f"storing alone: {storing:.2f} ms of the gateway's CPU a frame")
    shares = {count: (median(cost) - storing) / count for count, cost in costs.items()}
    for count, share in shares.items():
        each = ", ".join(f"{(cost - storing) / count:.3f}" for cost in costs[count])
        print(f"{count:3} models: {share:.3f} ms a frame and model ({each})")
    ratio = shares[max(shares)] / shares[min(shares)]
    print(f"{max(shares)} models cost {ratio:.2f} of {min(shares)}, a frame and model; limit {_LIMIT:.2f}")


async def _gateway_ms_per_frame(bench: Rig, body: bytes, count: int) -> float:
    """Milliseconds of the gateway's CPU for each frame, until every model has answered to all."""
    names = [f"echo-{number}" for number in range(count)]
    port = await bench.start_gateway()
    async with AsyncClient(f"{HOST}:{port}") as client:
        if names:
            await bench.start_models(client, *names)
        await _frames(bench, body, names, _WARM_UP_FRAMES)
        before = bench.cpu_seconds()["gateway"]
        await _frames(bench, body, names, _FRAMES)
        spent = bench.cpu_seconds()["gateway"] - before
        for name in names:
            await client.delete(name)
    if names:
        await bench.supervisor.stop(names[0])
    await bench.supervisor.stop("gateway")
    print(f"{count:3} models: {spent / _FRAMES * 1e3:.2f} ms a frame", flush=True)
    return spent / _FRAMES * 1e3


async def _frames(bench: Rig, body: bytes, names: list[str], count: int) -> None:
    """Publish frames at a camera's pace, then wait until all are stored and every model has answered."""
    started = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, started + number / _FPS - time.monotonic()))
        await publish(bench.bus, "bench", time.time_ns(), body, number)
    consumers = [(streams.FRAMES, streams.STORE_CONSUMER)]
    consumers += [(streams.STORED, streams.model_consumer(name)) for name in names]
    for stream, consumer in consumers:
        while unfinished(await bench.bus.js.consumer_info(stream, consumer)):
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    quick = "--quick" in sys.argv[1:]
    asyncio.run(main(1, (0, 1, 16)) if quick else main(_ROUNDS, _MODELS))
