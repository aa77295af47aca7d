"""`python -m benchmarks.pipeline.latency`: from capture to answer, with a model that costs nothing.

What is left is everything but decoding and inference: publishing with a sync to disk, storing, the reference, the call
over gRPC. Cameras are paced evenly, 30 frames a second each.
"""

import asyncio

from benchmarks.frames import noise_jpeg
from benchmarks.pipeline.rig import rig
from benchmarks.pipeline.traffic import p50_p99_ms, paced
from framemesh.client import AsyncClient
from framemesh.mesh.servers import HOST

_SECONDS = 20
_RATES = (30, 90, 30, 90)
_LIMIT_MS = 15.0


async def main() -> None:
    """Measure and print."""
    body = noise_jpeg(100_000)
    medians = []
    async with rig() as bench:
        port = await bench.start_gateway()
        async with AsyncClient(f"{HOST}:{port}") as client:
            await bench.start_models(client, "echo")
            await paced(bench.bus, "warm", body, fps=30, frames=60, models=["echo"])
            print(f"frames of {len(body):,} bytes for {_SECONDS} s at each rate, all processes on this machine")
            for number, fps in enumerate(_RATES):
                found = await paced(bench.bus, f"run-{number}", body, fps=fps, frames=fps * _SECONDS, models=["echo"])
                stored, answered = p50_p99_ms(found.stored), p50_p99_ms(found.answered["echo"])
                print(
                    f"{fps} frames/s: stored after p50 {stored[0]:.1f} p99 {stored[1]:.1f} ms, "
                    f"answered after p50 {answered[0]:.1f} p99 {answered[1]:.1f} ms"
                )
                if fps == _RATES[0]:
                    medians.append(answered[0])
    print(f"overhead at {_RATES[0]} frames/s is {min(medians) / _LIMIT_MS:.2f} of the limit of {_LIMIT_MS:.0f} ms")


if __name__ == "__main__":
    asyncio.run(main())
