"""How many frames wait to be stored, for whoever watches the metrics."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

from framemesh.bus import Bus, streams
from framemesh.bus.states import stream_state
from framemesh.errors import BusUnavailableError
from framemesh.waiting import happens
from gateway.metrics import GatewayMetrics

_LOOK_SECONDS = 2.0


class Backlog:
    """Asks NATS again and again.

    Args:
        bus: Where frames wait.
        metrics: Where it shows.
    """

    name = "backlog"

    def __init__(self, bus: Bus, metrics: GatewayMetrics) -> None:
        self._bus = bus
        self._metrics = metrics
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Look until stopped; while NATS is away the last values stay."""
        while not self._stopping.is_set():
            with suppress(BusUnavailableError):
                await self._look()
            await happens(self._stopping, within=_LOOK_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    async def _look(self) -> None:
        state = await stream_state(self._bus, streams.FRAMES)
        self._metrics.waiting.set(state.messages)
        self._metrics.waiting_bytes.set(state.size_bytes)
        self._metrics.waiting_limit_bytes.set(state.limit_bytes)
        self._metrics.waiting_seconds.set(state.oldest_seconds(datetime.now(UTC)))
