"""A model's life in this process: prepared, loaded, warmed up, served, drained."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from framemesh.errors import ModelNotFoundError, ModelUnavailableError
from framemesh.rpc.server import RpcServer
from framemesh.v1.model_pb2 import ReplicaState
from model_server.announcing import Presence
from model_server.artifacts import Manifest, RuntimeName
from model_server.batching import Batcher
from model_server.inference import Model
from model_server.metrics import ModelServerMetrics
from model_server.preparing import prepare

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """Which model to serve and how; the fields are those of the settings."""

    name: str
    source: str
    revision: str
    runtime: RuntimeName
    cache: Path
    workers: int
    max_batch: int
    max_queue: int


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that answers."""

    manifest: Manifest
    batcher: Batcher


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
        if self._served is None:
            raise ModelUnavailableError(f"model {self._plan.name!r} is {self.problem()}: try again soon")
        return self._served

    def problem(self) -> str | None:
        """Why the model doesn't answer, for health checks."""
        if self._served is not None:
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
                self._served.batcher.stop()

    def stop(self) -> None:
        """Take no more images; a model that isn't up yet is given up at once."""
        self._stopping.set()

    async def _work(self) -> None:
        server = await self._door
        started = time.monotonic()
        model = await self._bring_up()
        batcher = Batcher(
            self._plan.name,
            model.infer,
            workers=self._plan.workers,
            max_batch=self._plan.max_batch,
            max_queue=self._plan.max_queue,
            metrics=self._metrics,
        )
        self._served = ServedModel(model.manifest, batcher)
        self._presence.become(ReplicaState.REPLICA_STATE_SERVING, version=model.manifest.version)
        await server.set_serving(serving=True)
        took = time.monotonic() - started
        manifest = model.manifest
        self._metrics.load_seconds.labels(self._plan.name).set(took)
        self._metrics.info.labels(self._plan.name, manifest.version, manifest.runtime, manifest.task).set(1)
        log.info("model.serving", model=self._plan.name, version=manifest.version, duration_seconds=round(took, 3))
        await batcher.run()

    async def _bring_up(self) -> Model:
        plan = self._plan
        log.info("model.preparing", model=plan.name, source=plan.source, runtime=plan.runtime)
        folder = await prepare(plan.source, revision=plan.revision, runtime=plan.runtime, cache=plan.cache)
        self._presence.become(ReplicaState.REPLICA_STATE_LOADING)
        log.info("model.loading", model=plan.name, folder=str(folder))
        model = await asyncio.to_thread(Model.load, folder)
        for batch in range(1, plan.max_batch + 1):
            await asyncio.to_thread(model.warm_up, batch)
        return model
