"""What is told of each deployment or training, kept in NATS: for those who ask, and for the next deployer to go on."""

import asyncio
import time
from contextlib import aclosing
from copy import deepcopy
from typing import Generic, TypeVar

import nats.errors
import structlog

from framemesh.bus import Bus, encoding
from framemesh.bus.watching import snapshots
from framemesh.frames import timestamp
from framemesh.v1.model_pb2 import DeploymentStatus
from framemesh.v1.training_pb2 import TrainingStatus
from framemesh.waiting import happens

log = structlog.get_logger()

Status = TypeVar("Status", bound=DeploymentStatus | TrainingStatus)

_PROBLEMS = (nats.errors.Error, TimeoutError)
_BETWEEN_SECONDS = 0.2
"""Progress is told no more often than that: only the newest of what came meanwhile."""
_RETRY_SECONDS = 1.0
_FAREWELL_SECONDS = 2.0


class Ledger(Generic[Status]):
    """The statuses, by model. Reading is instant; what is put shows in NATS soon, and once NATS is there.

    Args:
        bus: Where they are kept.
        bucket: In which key-value bucket.
        kind: What they are.
    """

    def __init__(self, bus: Bus, bucket: str, kind: type[Status]) -> None:
        self.name = f"ledger of {bucket}"
        self._bus = bus
        self._bucket = bucket
        self._kind = kind
        self._statuses: dict[str, Status] = {}
        self._unwritten: set[str] = set()
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()

    async def open(self) -> None:
        """Read what another deployer left; waits for NATS, and for the gateway, which makes the bucket."""
        async with aclosing(snapshots(self._bus, self._bucket)) as following:
            content = await anext(following)
        self._statuses = {
            model: status for model, value in content.items() if (status := encoding.load(value, self._kind()))
        }

    def models(self) -> set[str]:
        """Which models something is told of."""
        return set(self._statuses)

    def get(self, model: str) -> Status:
        """A copy of what is told of a model; an empty one where nothing is."""
        return deepcopy(self._statuses[model]) if model in self._statuses else self._kind()

    def put(self, model: str, status: Status) -> None:
        """Tell something else of a model."""
        status.update_time.CopyFrom(timestamp(time.time_ns()))
        self._statuses[model] = status
        self._note(model)

    def forget(self, model: str) -> None:
        """Tell nothing more of a model."""
        if self._statuses.pop(model, None) is not None:
            self._note(model)

    async def run(self) -> None:
        """Write what changes until stopped, and then once more."""
        while not self._stopping.is_set():
            await self._changed.wait()
            self._changed.clear()
            if not await self._write():
                self._changed.set()
                await happens(self._stopping, within=_RETRY_SECONDS)
            await happens(self._stopping, within=_BETWEEN_SECONDS)
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._write()
        except TimeoutError:
            log.warning("ledger.not_written", bucket=self._bucket, models=sorted(self._unwritten))

    def stop(self) -> None:
        """Write what is unwritten, and no more."""
        self._stopping.set()
        self._changed.set()

    def _note(self, model: str) -> None:
        self._unwritten.add(model)
        self._changed.set()

    async def _write(self) -> bool:
        """Write what changed; whether NATS took it."""
        while self._unwritten:
            model = self._unwritten.pop()
            status = self._statuses.get(model)
            try:
                bucket = await self._bus.js.key_value(self._bucket)
                if status is None:
                    await bucket.delete(model)
                else:
                    await bucket.put(model, encoding.dump(status))
            except _PROBLEMS as error:
                self._unwritten.add(model)
                words = str(error) or type(error).__name__
                log.warning("ledger.not_written", bucket=self._bucket, model=model, error=words)
                return False
        return True
