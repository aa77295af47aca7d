"""The desired models, kept running as local processes."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from framemesh.client import AsyncClient
from framemesh.errors import ConfigurationError, FramemeshError
from framemesh.mesh.processes import model_process, model_server
from framemesh.mesh.servers import HOST, free_port
from framemesh.mesh.supervision import ProcessSpec, Supervisor
from framemesh.v1.model_pb2 import ModelSpec

_RECONNECT_SECONDS = 1.0
_RETRY_SECONDS = 30.0
_OWN = ("source", "revision", "task", "runtime", "precision", "candidate_labels")


class LocalModels:
    """Follows what the gateway says is deployed, and starts and stops model servers to match.

    Args:
        client: The gateway.
        supervisor: Runs the processes.
        env: Where NATS and S3 are, for the model servers.
        cache: Folder of prepared models.
        on_event: Told in words what fails.
    """

    name = "models"

    def __init__(
        self,
        client: AsyncClient,
        supervisor: Supervisor,
        env: Mapping[str, str],
        *,
        cache: Path,
        on_event: Callable[[str], None],
    ) -> None:
        self._client = client
        self._supervisor = supervisor
        self._env = env
        self._cache = cache
        self._on_event = on_event
        self._running: dict[str, tuple[ModelSpec, asyncio.Task[None]]] = {}
        self._up = False
        self._stopping = asyncio.Event()
        self.specs: list[ModelSpec] = []
        """What the gateway last said is deployed."""
        self.http: dict[str, str] = {}
        """Address of each model server's pages, by process name."""

    async def started(self, specs: list[ModelSpec]) -> None:
        """Wait until every server of these models answers.

        Raises:
            ConfigurationError: One of them can't start; the message has the end of its log.
        """
        names = [model_process(spec.name, replica) for spec in specs for replica in range(spec.replicas)]
        while missing := [name for name in names if name not in self._running]:
            await asyncio.sleep(0.05)
            if self._stopping.is_set():
                raise ConfigurationError(f"stopped before {', '.join(missing)} could start")
        await asyncio.gather(*(self._running[name][1] for name in names))
        self._up = True

    async def run(self) -> None:
        """Follow until stopped."""
        following = asyncio.create_task(self._follow())
        try:
            await self._stopping.wait()
        finally:
            following.cancel()
            for _, task in self._running.values():
                task.cancel()

    def stop(self) -> None:
        """Start and stop nothing more; the processes are the supervisor's to end."""
        self._stopping.set()

    async def _follow(self) -> None:
        while True:
            try:
                async for models in self._client.watch_models():
                    await self._match([model.spec for model in models])
            except FramemeshError:
                pass  # the gateway is being restarted
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _match(self, specs: list[ModelSpec]) -> None:
        self.specs = specs
        wanted = {
            model_process(spec.name, replica): (spec, replica) for spec in specs for replica in range(spec.replicas)
        }
        for name in [name for name, (spec, _) in self._running.items() if not _same(spec, wanted.get(name))]:
            _, task = self._running.pop(name)
            self.http.pop(name, None)
            task.cancel()
            await asyncio.wait((task,))
            await self._supervisor.stop(name)
        for name in wanted.keys() - self._running.keys():
            self._start(name, *wanted[name])

    def _start(self, name: str, spec: ModelSpec, replica: int) -> None:
        http_port = free_port()
        process = model_server(self._env, spec, replica, cache=self._cache, grpc_port=free_port(), http_port=http_port)
        self.http[name] = f"{HOST}:{http_port}"
        self._running[name] = (spec, asyncio.create_task(self._bring_up(process), name=f"start {name}"))

    async def _bring_up(self, process: ProcessSpec) -> None:
        """Start a server; one of a model that was deployed later is tried again and again."""
        while True:
            try:
                await self._supervisor.start(process)
            except ConfigurationError as error:
                if not self._up:
                    raise
                self._on_event(f"{error}\nit is tried again in {_RETRY_SECONDS:g} s")
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return


def _same(running: ModelSpec, wanted: tuple[ModelSpec, int] | None) -> bool:
    """Whether the process may stay: only its own fields count, not the number of its siblings or the policy."""
    if wanted is None:
        return False
    spec, _ = wanted
    return all(getattr(running, field) == getattr(spec, field) for field in _OWN)
