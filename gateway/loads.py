"""How busy each model's servers are, for whoever watches the metrics."""

import asyncio

from framemesh.waiting import happens
from gateway.asking import Asker
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry

_LOOK_SECONDS = 1.0


class Loads:
    """Looks again and again.

    Args:
        registry: Which models there are.
        asker: Who knows their servers.
        metrics: Where it shows.
    """

    name = "loads"

    def __init__(self, registry: Registry, asker: Asker, metrics: GatewayMetrics) -> None:
        self._registry = registry
        self._asker = asker
        self._metrics = metrics
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Look until stopped."""
        while not self._stopping.is_set():
            for model in self._registry.specs():
                load = self._asker.load(model)
                self._metrics.images_at_once.labels(model).set(load.images_at_once)
                self._metrics.in_flight.labels(model).set(load.in_flight)
                self._metrics.servers_away.labels(model).set(load.servers_away)
            await happens(self._stopping, within=_LOOK_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
