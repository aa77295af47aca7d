"""A model's life in this process: prepared, loaded, warmed up, served, drained."""

import asyncio
import math
import time
from dataclasses import dataclass
from functools import partial

import structlog

from framemesh.errors import ModelNotFoundError, ModelUnavailableError
from framemesh.rpc.server import RpcServer
from framemesh.specs import runtime_of
from framemesh.v1.model_pb2 import ReplicaState
from model_server.announcing import Presence
from model_server.artifacts import PreprocessingName
from model_server.batching import Batcher
from model_server.building import Order
from model_server.inference import Model, canary
from model_server.metrics import ModelServerMetrics
from model_server.preparing import prepare
from model_server.watchdog import Watchdog

log = structlog.get_logger()

_LAST_WORD = 0.8
"""Share of the time for draining after which what still waits is refused."""


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """Which model to serve and how; the fields are those of the settings."""

    name: str
    order: Order
    labels: tuple[str, ...]
    preprocessing: PreprocessingName | None
    workers: int
    max_batch: int
    max_queue: int
    max_queue_delay: float


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that answers."""

    model: Model
    batcher: Batcher
    watchdog: Watchdog

    def stop(self, within: float = math.inf) -> None:
        """Take no more images, and answer those that wait for which there is time."""
        self.watchdog.stop()
        self.batcher.stop(within)


_ANSWERING = frozenset({ReplicaState.REPLICA_STATE_SERVING, ReplicaState.REPLICA_STATE_DRAINING})


class ModelHost:
    """Brings one model up and serves it until stopped."""

    name = "model"

    def __init__(self, plan: ModelPlan, presence: Presence, metrics: ModelServerMetrics) -> None:
        self._plan = plan
        self._presence = presence
        self._metrics = metrics
        self._served: ServedModel | None = None
        self._door: asyncio.Future[RpcServer] = asyncio.get_running_loop().create_future()
        self._stopping = asyncio.Event()

    def open(self, server: RpcServer) -> None:
        """Begin: the server that answers for the model listens, and is to be told when the model serves."""
        self._door.set_result(server)

    def served(self, model: str) -> ServedModel:
        """The model, by its name or by none.

        Raises:
            ModelNotFoundError: Another model is asked for.
            ModelUnavailableError: It isn't up yet.
        """
        if model not in {"", self._plan.name}:
            raise ModelNotFoundError(
                f"no model {model!r} here; serving: {self._plan.name}", model=model, serving=self._plan.name
            )
        problem = self.problem()
        if self._served is None or problem is not None:
            raise ModelUnavailableError(f"model {self._plan.name!r} is {problem} here: try again soon")
        return self._served

    def problem(self) -> str | None:
        """Why the model doesn't answer, for health checks."""
        if self._presence.state in _ANSWERING:
            return None
        return ReplicaState.Name(self._presence.state).removeprefix("REPLICA_STATE_").lower()

    async def run(self) -> None:
        """Bring the model up and answer until stopped, then answer what waits.

        Raises:
            ConfigurationError: The model can't be served as it is set.
            ModelUnavailableError: The hub can't be reached now.
        """
        async with asyncio.TaskGroup() as group:
            working = group.create_task(self._work())
            await self._stopping.wait()
            if self._served is None:
                working.cancel()
            else:
                self._served.stop()

    async def drain(self, seconds: float) -> None:
        """Tell everybody that the model ends here, then take no more images: nobody is refused who wasn't told."""
        self._presence.become(ReplicaState.REPLICA_STATE_DRAINING)
        if self._served is not None:
            await (await self._door).set_serving(serving=False)
            self._served.stop(seconds)
            # What was thought to be answered in time and isn't is refused while there is time to say so.
            asyncio.get_running_loop().call_later(_LAST_WORD * seconds, self._served.stop, 0.0)

    def stop(self) -> None:
        """Take no more images; a model that isn't up yet is given up at once."""
        self._stopping.set()

    async def _work(self) -> None:
        server = await self._door
        started = time.monotonic()
        model, max_batch = await self._bring_up()
        plan = self._plan
        batcher = Batcher(
            plan.name,
            model.infer,
            workers=plan.workers,
            max_batch=max_batch,
            max_queue=plan.max_queue,
            max_queue_delay=plan.max_queue_delay,
            metrics=self._metrics,
        )
        watchdog = Watchdog(plan.name, batcher, canary(model.labels), partial(self._serve, server))
        self._served = ServedModel(model, batcher, watchdog)
        self._presence.become(
            ReplicaState.REPLICA_STATE_LOADING,
            version=model.manifest.version,
            runtime=runtime_of(model.manifest.runtime),
        )
        await self._serve(server, answering=True)
        took = time.monotonic() - started
        self._metrics.loaded(plan.name, model.manifest, seconds=took)
        log.info("model.serving", model=plan.name, version=model.manifest.version, duration_seconds=round(took, 3))
        async with asyncio.TaskGroup() as group:
            group.create_task(watchdog.run())
            group.create_task(batcher.run())

    async def _serve(self, server: RpcServer, answering: bool) -> None:  # noqa: FBT001 - what a watchdog calls
        """Tell gateways and health checkers whether the model answers."""
        if self._presence.state != ReplicaState.REPLICA_STATE_DRAINING:
            serving, unhealthy = ReplicaState.REPLICA_STATE_SERVING, ReplicaState.REPLICA_STATE_UNHEALTHY
            self._presence.become(serving if answering else unhealthy)
            await server.set_serving(serving=answering)

    async def _bring_up(self) -> tuple[Model, int]:
        """The model, and the most images that should run together."""
        plan = self._plan
        log.info("model.preparing", model=plan.name, source=plan.order.source, runtime=plan.order.runtime)
        folder = await prepare(plan.order)
        self._presence.become(ReplicaState.REPLICA_STATE_LOADING)
        log.info("model.loading", model=plan.name, folder=str(folder))
        load = partial(Model.load, folder, preprocessing=plan.preprocessing, labels=plan.labels)
        model = await asyncio.to_thread(load)
        if model.manifest.fallback_reason:
            log.warning("model.fallback", model=plan.name, reason=model.manifest.fallback_reason)
        return model, await asyncio.to_thread(model.warm_up, plan.max_batch)
