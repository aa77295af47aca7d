"""`python -m benchmarks.pipeline.storing`: frames stored through the mesh against bare puts on the same S3 server.

In each round as many puts as the gateway makes at once go bare to the S3 server, then the gateway, a process of its
own, drains as many frames that wait for it in NATS. The ratio of the two rates is what NATS, references and
acknowledgements cost.
"""

import asyncio
import time
from statistics import median

from benchmarks.frames import noise_jpeg
from benchmarks.pipeline.rig import Rig, publish, rig
from framemesh.bus import streams
from framemesh.bus.states import unfinished

_ROUNDS = 5
_FRAMES = 1500
_IN_FLIGHT = 64
_LIMIT = 0.90


async def main() -> None:
    """Measure and print."""
    body = noise_jpeg(100_000)
    print(f"{_ROUNDS} rounds of {_FRAMES} frames of {len(body):,} bytes; NATS syncs what it acknowledges to disk")
    ratios = []
    async with rig() as bench:
        for number in range(_ROUNDS):
            bare = await _bare(bench, body, number)
            stored = await _stored(bench, body)
            ratios.append(stored / bare)
    print(f"storing is {median(ratios):.2f} of bare puts ({min(ratios):.2f} to {max(ratios):.2f}); limit {_LIMIT:.2f}")


async def _bare(bench: Rig, body: bytes, number: int) -> float:
    """Puts a second, as many at once as the gateway makes."""
    async with bench.lake("bare") as lake:
        before, started = _cpu(bench), time.perf_counter()
        await asyncio.gather(
            *(
                lake.put(f"{number}/{key:05}.jpg", body, content_type="image/jpeg", metadata={})
                for key in range(_FRAMES)
            )
        )
        return _told("bare puts", bench, before, time.perf_counter() - started)


async def _stored(bench: Rig, body: bytes) -> float:
    """Frames a second that the gateway stores out of a full stream."""
    room = asyncio.Semaphore(_IN_FLIGHT)
    first_ns = time.time_ns()

    async def send(sequence: int) -> None:
        async with room:
            await publish(bench.bus, "bench", first_ns + sequence, body, sequence)

    await asyncio.gather(*(send(sequence) for sequence in range(_FRAMES)))
    await bench.start_gateway()
    waiting = await _waiting(bench)
    before, started = _cpu(bench), time.perf_counter()
    while await _waiting(bench):
        await asyncio.sleep(0.02)
    rate = _told("storing", bench, before, time.perf_counter() - started, waiting)
    await bench.supervisor.stop("gateway")
    return rate


async def _waiting(bench: Rig) -> int:
    return unfinished(await bench.bus.js.consumer_info(streams.FRAMES, streams.STORE_CONSUMER))


def _cpu(bench: Rig) -> dict[str, float]:
    return {**bench.cpu_seconds(), "bench": time.process_time()}


def _told(what: str, bench: Rig, before: dict[str, float], seconds: float, frames: int = _FRAMES) -> float:
    """Print a line, and return frames a second."""
    spent = {name: (now - before.get(name, 0.0)) / frames * 1e3 for name, now in _cpu(bench).items()}
    shares = ", ".join(f"{name} {cost:.2f}" for name, cost in spent.items())
    print(f"{what:10} {frames / seconds:7.0f} frames/s; ms of CPU a frame: {shares}")
    return frames / seconds


if __name__ == "__main__":
    asyncio.run(main())
