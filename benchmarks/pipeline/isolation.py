"""`python -m benchmarks.pipeline.isolation [FRAMES]`: what one model's trouble costs the others, and NATS.

A model is killed for the time of 50,000 frames (or FRAMES), then frozen for as long as a usual round takes. Rounds with
it alive before and after say how storing and the other model's answers do otherwise.
"""

import asyncio
import os
import signal
import sys
import time
from statistics import median

from benchmarks.frames import noise_jpeg
from benchmarks.pipeline.rig import Rig, rig
from benchmarks.pipeline.traffic import Ages, p50_p99_ms, paced
from framemesh.bus import streams
from framemesh.bus.states import unfinished
from framemesh.client import AsyncClient
from framemesh.mesh.servers import HOST

_FPS = 90
_ROUND_FRAMES = 1800
_FRAMES = 50_000
_FRAME_BYTES = 100_000
_BACKLOG_LIMIT_MB = 20
_CATCH_UP_SECONDS = 600.0


async def main(frames: int) -> None:
    """Measure and print."""
    body = noise_jpeg(_FRAME_BYTES)
    async with rig() as bench:
        port = await bench.start_gateway()
        async with AsyncClient(f"{HOST}:{port}") as client:
            for model in ("steady", "troubled"):
                await bench.start_models(client, model)
            print(f"{_FPS} frames/s of {len(body):,} bytes, {_ROUND_FRAMES} a round; ages in ms since capture")
            await _round(bench, "warm", body, 300)
            usual = [await _round(bench, f"alive-{number}", body, _ROUND_FRAMES) for number in range(3)]

            await bench.supervisor.stop("troubled")
            before = await _stored_bytes(bench)
            without = await _round(bench, "killed", body, frames)
            backlog = await _stored_bytes(bench) - before
            started = time.perf_counter()
            await bench.start_models(client, "troubled")
            await _caught_up(bench)
            seconds = time.perf_counter() - started
            print(
                f"backlog of {frames:,} references: {backlog / 1e6:.1f} MB in NATS, limit {_BACKLOG_LIMIT_MB}; "
                f"caught up in {seconds:.0f} s, {frames / seconds:.0f} frames/s"
            )

            pid = bench.supervisor.pids()["troubled"]
            os.kill(pid, signal.SIGSTOP)
            frozen = await _round(bench, "frozen", body, _ROUND_FRAMES)
            os.kill(pid, signal.SIGCONT)
            await _caught_up(bench)
            usual += [await _round(bench, f"again-{number}", body, _ROUND_FRAMES) for number in range(3)]
    for what, found in (("killed", without), ("frozen", frozen)):
        stored, answered = (
            _ratio(found.stored, [each.stored for each in usual]),
            _ratio(found.answered["steady"], [each.answered["steady"] for each in usual]),
        )
        print(f"{what}: {stored} of the usual age when stored, {answered} when answered by the other model")


async def _round(bench: Rig, name: str, body: bytes, frames: int) -> Ages:
    found = await paced(bench.bus, name, body, fps=_FPS, frames=frames, models=["steady"])
    stored, answered = p50_p99_ms(found.stored), p50_p99_ms(found.answered["steady"])
    print(
        f"{name:8} {frames:6} frames: stored p50 {stored[0]:.1f} p99 {stored[1]:.1f}, "
        f"answered p50 {answered[0]:.1f} p99 {answered[1]:.1f}"
    )
    return found


def _ratio(found: list[float], usual: list[list[float]]) -> str:
    """p50 and p99 as shares of the median of the usual rounds' own."""
    shares = [now / median(p50_p99_ms(each)[index] for each in usual) for index, now in enumerate(p50_p99_ms(found))]
    return f"p50 {shares[0]:.2f}, p99 {shares[1]:.2f}"


async def _stored_bytes(bench: Rig) -> int:
    return (await bench.bus.js.stream_info(streams.STORED)).state.bytes


async def _caught_up(bench: Rig) -> None:
    consumer = streams.model_consumer("troubled")
    async with asyncio.timeout(_CATCH_UP_SECONDS):
        while unfinished(await bench.bus.js.consumer_info(streams.STORED, consumer)):
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else _FRAMES))
