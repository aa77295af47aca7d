"""Live results for watchers, straight from the bus."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from nats.aio.msg import Msg

from framemesh.bus import Bus
from framemesh.v1.result_pb2 import Result
from gateway.metrics import GatewayMetrics

_MAX_WAITING = 256


async def watch_results(
    bus: Bus, metrics: GatewayMetrics, *, models: set[str], cameras: set[str]
) -> AsyncGenerator[tuple[Result, int], None]:
    """Yield results as they come, each with the number missed before it because the caller was too slow.

    Args:
        bus: Where results go by.
        metrics: Counts those missed.
        models: Only these, by DNS label; none means all.
        cameras: Only these, by DNS label; none means all.
    """
    waiting: deque[bytes] = deque()
    missed = 0
    arrived = asyncio.Event()

    async def take(message: Msg) -> None:
        nonlocal missed
        _, model, camera = message.subject.split(".")
        if (models and model not in models) or (cameras and camera not in cameras):
            return
        if len(waiting) == _MAX_WAITING:
            waiting.popleft()
            missed += 1
            metrics.missed_results.inc()
        waiting.append(message.data)
        arrived.set()

    # One subscription whatever is asked for: one for each pair of names could be millions.
    subscription = await bus.client.subscribe("results.*.*", cb=take)
    try:
        while not bus.closed.is_set():
            await arrived.wait()
            while waiting:
                before, missed = missed, 0
                yield Result.FromString(waiting.popleft()), before
            arrived.clear()
    finally:
        if not bus.client.is_closed:
            await subscription.unsubscribe()
