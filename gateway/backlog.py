"""What waits in NATS, to be stored and for each model, and how full its streams are, for who watches the metrics."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

import nats.errors

from framemesh.bus import Bus, streams
from framemesh.bus.states import stream_state, unfinished
from framemesh.errors import BusUnavailableError
from framemesh.waiting import happens
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry

_LOOK_SECONDS = 2.0


class Backlog:
    """Asks NATS again and again.

    Args:
        bus: Where frames wait.
        registry: Which models there are.
        metrics: Where it shows.
    """

    name = "backlog"

    def __init__(self, bus: Bus, registry: Registry, metrics: GatewayMetrics) -> None:
        self._bus = bus
        self._registry = registry
        self._metrics = metrics
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Look until stopped; while NATS is away the last values stay."""
        while not self._stopping.is_set():
            with suppress(BusUnavailableError):
                await self._look_at_frames()
                await self._look_at_streams()
                await self._look_at_models()
            await happens(self._stopping, within=_LOOK_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    async def _look_at_frames(self) -> None:
        state = await stream_state(self._bus, streams.FRAMES)
        self._metrics.waiting.set(state.messages)
        self._metrics.waiting_bytes.set(state.size_bytes)
        self._metrics.waiting_limit_bytes.set(state.limit_bytes)
        self._metrics.waiting_seconds.set(state.oldest_seconds(datetime.now(UTC)))

    async def _look_at_streams(self) -> None:
        for name in streams.KEPT:
            state = await stream_state(self._bus, name)
            self._metrics.stream_messages.labels(name).set(state.messages)
            self._metrics.stream_bytes.labels(name).set(state.size_bytes)
            self._metrics.stream_limit_bytes.labels(name).set(state.limit_bytes)

    async def _look_at_models(self) -> None:
        for model in self._registry.specs():
            with suppress(nats.errors.Error, TimeoutError):  # a new model's consumer is made in a moment
                consumer = await self._bus.js.consumer_info(streams.STORED, streams.model_consumer(model))
                if model in self._registry.specs():  # else it was deleted meanwhile
                    self._metrics.model_waiting.labels(model).set(unfinished(consumer))
