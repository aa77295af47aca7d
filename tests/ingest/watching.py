"""What tests see of NATS and of metrics while they wait."""

import asyncio
from collections.abc import Awaitable, Callable

from nats.js.api import RawStreamMsg
from prometheus_client import CollectorRegistry

from framemesh.bus import Bus, streams
from framemesh.frames import subject


async def until(condition: Callable[[], bool | Awaitable[bool]], *, seconds: float = 60.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.02)


async def patiently(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for a condition that takes a server or a process to start, on a machine that may be busy."""
    await until(condition, seconds=60)


async def stored(bus: Bus, camera: str) -> list[RawStreamMsg]:
    """The camera's messages in the stream, oldest first."""
    state = (await bus.js.stream_info(streams.FRAMES)).state
    messages = [
        await bus.js.get_msg(streams.FRAMES, number)
        for number in range(state.first_seq, state.last_seq + 1)
        if state.messages
    ]
    return [message for message in messages if message.subject == subject(camera)]


async def number_stored(bus: Bus, camera: str) -> int:
    """How many of the camera's messages are in the stream: one request, however many there are."""
    state = (await bus.js.stream_info(streams.FRAMES, subjects_filter=subject(camera))).state
    return (state.subjects or {}).get(subject(camera), 0)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """A metric's value now."""
    found = registry.get_sample_value(name, labels)
    assert found is not None, f"no {name} with {labels}"
    return found


def frames(registry: CollectorRegistry, camera: str, outcome: str) -> float:
    """How many of a camera's frames ended so."""
    return value(registry, "framemesh_ingest_frames_total", camera=camera, outcome=outcome)
