"""`make bench`: storing through the mesh against bare puts on the same S3 server, in interleaved rounds."""

import asyncio
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from pydantic import SecretStr

from benchmarks.frames import noise_jpeg
from framemesh.bus import Bus, connect, streams
from framemesh.frames import FrameId, headers, subject
from framemesh.lake import Lake
from framemesh.mesh.servers import HOST, Credentials, free_port, nats_server, nats_url, s3_server
from framemesh.mesh.supervision import Supervisor
from gateway.app import gateway
from gateway.settings import GatewaySettings

ROUNDS = 5
FRAMES = 400
IN_FLIGHT = 64
CREDENTIALS = Credentials("bench", "only-on-this-machine")


async def main() -> None:
    """Print the table, and save it as benchmarks/results.json."""
    body = noise_jpeg(100_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Supervisor(folder / "logs", on_event=print) as supervisor:
            nats_port, s3_port = free_port(), free_port()
            await supervisor.start(nats_server(folder / "nats", nats_port, CREDENTIALS))
            await supervisor.start(s3_server(folder / "s3", s3_port, CREDENTIALS))
            settings = GatewaySettings(
                nats_url=SecretStr(nats_url(nats_port, CREDENTIALS)),
                s3_endpoint=f"http://{HOST}:{s3_port}",
                s3_access_key=SecretStr(CREDENTIALS.user),
                s3_secret_key=SecretStr(CREDENTIALS.password),
                log_level="error",
            )
            lake = Lake(
                settings.s3_endpoint,
                access_key=CREDENTIALS.user,
                secret_key=CREDENTIALS.password,
                region=settings.s3_region,
                bucket="bare",
                requests=settings.s3_requests,
            )
            async with connect(settings.nats_url.get_secret_value(), name="bench") as bus, lake, gateway(settings):
                report(await rounds(bus, lake, body), len(body))


async def rounds(bus: Bus, lake: Lake, body: bytes) -> dict[str, list[dict[str, float]]]:
    """The two ways in turn, so that a machine whose speed drifts treats them alike."""
    found: dict[str, list[dict[str, float]]] = {"bare puts": [], "publish, store, refer": []}
    for number in range(ROUNDS):
        found["bare puts"].append(await timed(lambda n=number: puts(lake, body, n)))  # type: ignore[misc]
        found["publish, store, refer"].append(await timed(lambda: frames_through(bus, body)))
    return found


async def timed(work: Callable[[], Awaitable[None]]) -> dict[str, float]:
    """Frames a second, and the CPU of this process for each."""
    cpu, wall = time.process_time(), time.perf_counter()
    await work()
    took = time.perf_counter() - wall
    return {"frames_per_second": FRAMES / took, "cpu_ms_per_frame": (time.process_time() - cpu) / FRAMES * 1000}


async def puts(lake: Lake, body: bytes, number: int) -> None:
    """As many concurrent puts as the gateway would make."""
    await asyncio.gather(
        *(lake.put(f"{number}/{key}.jpg", body, content_type="image/jpeg", metadata={}) for key in range(FRAMES))
    )


async def frames_through(bus: Bus, body: bytes) -> None:
    """Frames published with acknowledgements, until the store consumer has acknowledged the last."""
    room = asyncio.Semaphore(IN_FLIGHT)

    async def publish(sequence: int) -> None:
        async with room:
            frame_id = FrameId("bench", time.time_ns())
            words = headers(frame_id, content_type="image/jpeg", width_px=1280, height_px=720, sequence=sequence)
            await bus.publish(subject("bench"), body, words, timeout=30)

    await asyncio.gather(*(publish(sequence) for sequence in range(FRAMES)))
    while True:
        info = await bus.js.consumer_info(streams.FRAMES, streams.STORE_CONSUMER)
        if not info.num_pending and not info.num_ack_pending:
            return
        await asyncio.sleep(0.005)


def report(found: dict[str, list[dict[str, float]]], size_bytes: int) -> None:
    """Medians with their spread, and the ratio round by round."""
    print(f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"{ROUNDS} rounds of {FRAMES} frames of {size_bytes:,} bytes; every frame synced to disk by NATS first")
    for name, each in found.items():
        rates = [one["frames_per_second"] for one in each]
        cpu = median(one["cpu_ms_per_frame"] for one in each)
        print(
            f"{name:24} {median(rates):7.0f} frames/s ({min(rates):.0f} to {max(rates):.0f}), {cpu:.2f} ms CPU a frame"
        )
    pairs = zip(found["publish, store, refer"], found["bare puts"], strict=True)
    ratios = [mesh["frames_per_second"] / bare["frames_per_second"] for mesh, bare in pairs]
    print(
        f"storing through the mesh runs at {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) of bare puts"
    )
    print(f"memory of this process at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    Path(__file__).with_name("results.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
