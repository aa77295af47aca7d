"""Frames at a steady pace, and how old they were when they were stored and answered, as the streams themselves tell."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import quantiles

from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.pipeline.rig import publish
from framemesh.bus import Bus, streams
from framemesh.bus.reading import between
from framemesh.v1.frame_pb2 import StoredFrame
from framemesh.v1.result_pb2 import Result

_SETTLE_SECONDS = 120.0


@dataclass(slots=True)
class Ages:
    """Seconds from capture until a frame was stored, and until each model had answered it."""

    stored: list[float] = field(default_factory=list)
    answered: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


async def paced(bus: Bus, camera: str, body: bytes, *, fps: float, frames: int, models: Iterable[str]) -> Ages:
    """Publish frames evenly, wait until these models have answered all of them, and tell how old they got.

    Each frame is captured when its turn comes; a late one delays no other. The camera's name is for this call alone.
    """
    first_stored, first_result = await _next(bus, streams.STORED), await _next(bus, streams.RESULTS)
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(frames):
            await asyncio.sleep(started + number / fps - time.perf_counter())
            group.create_task(publish(bus, camera, time.time_ns(), body, number))
    async with asyncio.timeout(_SETTLE_SECONDS):
        await _until(bus, streams.STORED, f"stored.{camera}", frames)
        for model in models:
            await _until(bus, streams.RESULTS, f"results.{model}.{camera}", frames)
    found = Ages()
    async for message in between(bus, streams.STORED, first_stored, await _next(bus, streams.STORED) - 1):
        stored = StoredFrame.FromString(message.data)
        if stored.frame.camera == camera:
            found.stored.append(_seconds(stored.frame.capture_time, stored.store_time))
    async for message in between(bus, streams.RESULTS, first_result, await _next(bus, streams.RESULTS) - 1):
        result = Result.FromString(message.data)
        if result.frame.camera == camera:
            found.answered[result.answer.model].append(_seconds(result.frame.capture_time, result.answer_time))
    return found


def p50_p99_ms(seconds: list[float]) -> tuple[float, float]:
    """Median and 99th percentile, in milliseconds."""
    cuts = quantiles(seconds, n=100, method="inclusive")
    return 1e3 * cuts[49], 1e3 * cuts[98]


async def _next(bus: Bus, stream: str) -> int:
    return (await bus.js.stream_info(stream)).state.last_seq + 1


async def _until(bus: Bus, stream: str, subject: str, messages: int) -> None:
    while ((await bus.js.stream_info(stream, subjects_filter=subject)).state.subjects or {}).get(subject, 0) < messages:
        await asyncio.sleep(0.05)


def _seconds(since: Timestamp, until: Timestamp) -> float:
    return (until.ToNanoseconds() - since.ToNanoseconds()) / 1e9
