"""What the mesh itself knows of its models: which are deployed, how far they are, and what serves them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import psutil

from framemesh.client import AsyncClient
from framemesh.deploying import FAILED, settled
from framemesh.errors import ConfigurationError, FramemeshError
from framemesh.mesh.deployed import deployed
from framemesh.mesh.processes import model_process
from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from framemesh.v1.model_pb2 import Model, ModelSpec
from framemesh.waiting import until_set
from framemesh.words import serving, state

_RECONNECT_SECONDS = 1.0
_LOOK_SECONDS = 1.0
_SLOW = (Phase.DEPLOYMENT_PHASE_DOWNLOADING, Phase.DEPLOYMENT_PHASE_EXPORTING)
_BEING_MADE = (Phase.DEPLOYMENT_PHASE_EXPORTING, Phase.DEPLOYMENT_PHASE_UPLOADING)


class Models:
    """Follows what the gateway says of the models, and tells people what they should know.

    Args:
        client: The gateway.
        folder: The data directory, from which model servers run.
        on_event: Told in words what is done that takes long, and what fails.
        on_change: Called whenever the processes of model servers come or go.
        must_serve: Whether those of the start may not fail: then `settled` says what has failed, and not `on_event`.
    """

    name = "models"

    def __init__(
        self,
        client: AsyncClient,
        folder: Path,
        *,
        on_event: Callable[[str], None],
        on_change: Callable[[], None],
        must_serve: bool,
    ) -> None:
        self._client = client
        self._folder = folder
        self._on_event = on_event
        self._on_change = on_change
        self._must_serve = must_serve
        self._models: dict[str, Model] = {}
        self._told: dict[str, tuple[object, ...]] = {}
        self._pids: dict[str, int] = {}
        self._stale = False
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def specs(self) -> list[ModelSpec]:
        """What the gateway last said is deployed."""
        return [model.spec for model in self._models.values()]

    @property
    def unserved(self) -> list[str]:
        """Names of those that nothing serves, nor will: what waits for them waits in vain."""
        return [name for name, model in self._models.items() if _is_without(model) and not _is_served(model)]

    async def settled(self, wanted: dict[str, int]) -> None:
        """Wait until each of these models is ready, answers while it is still exported, or has failed for now.

        Args:
            wanted: The generation of each model's wish, by name.

        Raises:
            ConfigurationError: One has, and must not; the message has the reason.
        """
        while True:
            changed = self._changed
            waiting = [name for name, generation in wanted.items() if not self._is_settled(name, generation)]
            for name in wanted:
                model = self._models.get(name)
                if self._must_serve and model is not None and name not in waiting and _is_without(model):
                    raise ConfigurationError(f"model {name!r} {state(model)}", model=name)
            if not waiting:
                self._must_serve = False
                return
            if self._stopping.is_set():
                raise ConfigurationError(f"stopped before {', '.join(waiting)} could start")
            await changed.wait()

    async def run(self) -> None:
        """Follow until stopped."""
        await until_set(self._stopping, self._follow(), self._look_around())

    def stop(self) -> None:
        """Follow no more."""
        self._stopping.set()
        self._touch()

    async def _follow(self) -> None:
        while True:
            try:
                async for models in self._client.watch_models():
                    self._take({model.spec.name: model for model in models})
            except FramemeshError:
                pass  # the gateway is being restarted
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _take(self, models: dict[str, Model]) -> None:
        before, self._models = self._models, models
        for name, model in models.items():
            tells = not self._must_serve if _is_without(model) else model.status.phase in _SLOW
            if tells and _said(model) != self._told.get(name):  # a failure that is tried again and again is told once
                self._told[name] = _said(model)
                self._on_event(f"{name}: {state(model)}")
        if [_servers(model) for model in before.values()] != [_servers(model) for model in models.values()]:
            self._stale = True
        self._touch()

    async def _look_around(self) -> None:
        """Notice which processes have come and gone; as every process has to be looked at, only where some may have."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            gone = not all(psutil.pid_exists(pid) for pid in self._pids.values())
            known = sum(len(model.replicas) for model in self._models.values())
            if gone or self._stale or len(self._pids) != known:
                self._stale = False
                pids, _ = model_processes(self._folder)
                if pids != self._pids:
                    self._pids = pids
                    self._on_change()
                    self._touch()

    def _is_settled(self, name: str, generation: int) -> bool:
        model = self._models.get(name)
        if model is None or model.status.generation < generation:
            return False
        if _is_without(model):
            return True
        if model.status.phase in _BEING_MADE and self._runs(model):  # by torch, or a version before
            return True
        # One that was ready when the mesh was stopped says so until this mesh's deployer has looked at it.
        return settled(model, generation) and model.status.ready_replica_count >= model.spec.replicas

    def _runs(self, model: Model) -> bool:
        """Whether a server that answers is there: gateways also have those of a mesh that was killed, for seconds."""
        return any(model_process(one.model, one.replica) in self._pids for one in serving(model))

    def _touch(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def model_processes(folder: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Process ids, and addresses of the pages, of the model servers that run from a data directory, by process name."""
    servers = {
        model_process(found.env["FRAMEMESH_MODEL_NAME"], found.env["FRAMEMESH_REPLICA"]): found
        for found in deployed(folder)
        if found.program == "model_server"
    }
    pids = {name: found.process.pid for name, found in sorted(servers.items())}
    return pids, {name: found.env["FRAMEMESH_HTTP_ADDRESS"] for name, found in sorted(servers.items())}


def _is_without(model: Model) -> bool:
    """Whether what is wanted of it can't be had: for good, or until the hub can be reached, say."""
    status = model.status
    return status.phase in FAILED or (status.phase == Phase.DEPLOYMENT_PHASE_PENDING and bool(status.message))


def _is_served(model: Model) -> bool:
    """Whether a version of it serves, or torch in the place of the first one."""
    return model.status.HasField("serving") or bool(model.status.ready_replica_count)


def _said(model: Model) -> tuple[object, ...]:
    return model.status.generation, model.status.phase, model.status.message


def _servers(model: Model) -> list[tuple[str, str, int]]:
    return [(replica.model, replica.grpc_address, replica.state) for replica in model.replicas]
