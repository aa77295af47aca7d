"""One lane for each deployed model, started and stopped as the registry changes."""

import asyncio

import structlog

from framemesh.v1.model_pb2 import ModelSpec
from framemesh.waiting import happens
from gateway.lanes import Lane, LaneParts
from gateway.registry import Registry

log = structlog.get_logger()

_RESTART_SECONDS = 5.0


class Fanout:
    """Keeps the lanes as the registry wants them.

    Args:
        registry: What is deployed.
        parts: What all lanes share.
    """

    name = "fanout"

    def __init__(self, registry: Registry, parts: LaneParts) -> None:
        self._registry = registry
        self._parts = parts
        self._lanes: dict[str, Lane] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Follow the registry until stopped, then let every lane finish what it sent."""
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self._follow(group))
            await self._stopping.wait()
            following.cancel()
            for lane in self._lanes.values():
                lane.stop()

    def stop(self) -> None:
        """Send no more frames."""
        self._stopping.set()

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        async for _ in self._registry.changes():
            wanted = self._registry.specs()
            for name, lane in self._lanes.items():
                if _fits(lane.spec, wanted.get(name)):
                    lane.wake()
                else:
                    lane.stop()  # its successor begins once it has ended; the others don't wait for that
            for name in wanted.keys() - self._lanes.keys():
                lane = self._lanes[name] = Lane(wanted[name], self._parts)
                group.create_task(self._supervise(lane), name=lane.name)
                log.info("lane.started", model=name, policy=lane.spec.policy.WhichOneof("policy"))

    async def _supervise(self, lane: Lane) -> None:
        """Run a lane; one that fails is begun anew after a while, and the others don't notice."""
        try:
            await lane.run()
        except Exception:
            log.exception("lane.failed", model=lane.spec.name, restart_seconds=_RESTART_SECONDS)
            await happens(self._stopping, within=_RESTART_SECONDS)
        del self._lanes[lane.spec.name]
        self._registry.touch()


def _fits(running: ModelSpec, wanted: ModelSpec | None) -> bool:
    """Whether a lane may stay: which frames it takes counts, and whom it tells, not what serves them or how often."""
    return wanted is not None and _course(running) == _course(wanted)


def _course(spec: ModelSpec) -> tuple[object, ...]:
    return spec.policy, spec.cameras, spec.shadow
