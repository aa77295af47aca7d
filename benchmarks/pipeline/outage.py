"""`python -m benchmarks.pipeline.outage`: how soon everything is stored once an S3 server that was away is back.

Three cameras publish 90 frames a second in all, before, during and after the outage. Told is the time from the server's
return until every frame that NATS had accepted by then is stored, while new ones go on coming.
"""

import argparse
import asyncio
import time

from benchmarks.frames import noise_jpeg
from benchmarks.pipeline.rig import Rig, publish, rig
from framemesh.bus import streams
from framemesh.bus.states import stream_state

_CAMERAS = ("gate", "door", "yard")
_FRAMES_PER_SECOND = 90
_BEFORE_SECONDS = 5.0
_LIMIT_SECONDS = 60.0


async def main(outage_seconds: float) -> None:
    """Measure and print."""
    body = noise_jpeg(100_000)
    print(f"S3 away for {outage_seconds:g} s under {_FRAMES_PER_SECOND} frames a second of {len(body):,} bytes")
    async with rig() as bench:
        await bench.start_gateway()
        publishing = asyncio.create_task(_publish(bench, body))
        await asyncio.sleep(_BEFORE_SECONDS)
        await bench.supervisor.stop("s3")
        await asyncio.sleep(outage_seconds)
        waited = await stream_state(bench.bus, streams.FRAMES)
        await bench.supervisor.start(bench.s3)
        returned = time.perf_counter()
        accepted = (await stream_state(bench.bus, streams.FRAMES)).last
        while await _stored_until(bench) < accepted:
            await asyncio.sleep(0.05)
        took = time.perf_counter() - returned
        publishing.cancel()
        await bench.supervisor.stop("gateway")
    print(f"{waited.messages:,} frames waited ({waited.size_bytes / 1e6:.0f} MB)")
    print(f"all were stored {took:.1f} s after its return; limit {_LIMIT_SECONDS:.0f} s")


async def _publish(bench: Rig, body: bytes) -> None:
    """Publish at a steady rate, each frame whether or not the last was acknowledged yet."""
    began = time.perf_counter()
    sequence = 0
    async with asyncio.TaskGroup() as group:
        while True:
            camera = _CAMERAS[sequence % len(_CAMERAS)]
            group.create_task(publish(bench.bus, camera, time.time_ns(), body, sequence))
            sequence += 1
            await asyncio.sleep(max(0.0, began + sequence / _FRAMES_PER_SECOND - time.perf_counter()))


async def _stored_until(bench: Rig) -> int:
    """Sequence of the frame before which none is left to store."""
    info = await bench.bus.js.consumer_info(streams.FRAMES, streams.STORE_CONSUMER)
    return info.ack_floor.stream_seq if info.ack_floor is not None else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0, help="How long the S3 server is away.")
    asyncio.run(main(parser.parse_args().seconds))
