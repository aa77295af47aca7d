"""Models as processes of this machine: a worker that prepares each, and its servers."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import nats.errors
import structlog

from deployer import worker
from deployer.reconciling import Tell
from framemesh.bus import Bus, routes
from framemesh.bus.streams import ROUTES_BUCKET
from framemesh.errors import ConfigurationError, InvalidSpecError
from framemesh.folders import clear_unfinished
from framemesh.mesh.demo import PREFIX, check_source, localised
from framemesh.mesh.deployed import TakenOver, deployed, mark
from framemesh.mesh.processes import model_process, model_server, model_server_with
from framemesh.mesh.servers import free_port
from framemesh.mesh.supervision import ProcessSpec, Supervisor
from framemesh.specs import complete, dump, load, same_version
from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from framemesh.v1.model_pb2 import ModelReplica, ModelSpec, Release, ReplicaState, Runtime
from framemesh.waiting import cancelled

log = structlog.get_logger()

_PREPARED_AT_ONCE = 2
_START_SECONDS = 300.0
_POLL_SECONDS = 0.05
_HEARD_SECONDS = 0.5
"""Servers end so long after their successors told NATS that they serve: every gateway has heard of those by then."""
_HEAD_START_SECONDS = 30.0
"""Longest that a worker leaves the cores to the server that stands in for what it makes."""
_STANDS_IN_FOR = "FRAMEMESH_STANDS_IN_FOR"
"""A server that stands in for a version which is still made has the wish for it in this variable."""
_OWN_OF_EACH = {"FRAMEMESH_GRPC_ADDRESS", "FRAMEMESH_HTTP_ADDRESS", "FRAMEMESH_REPLICA"}


@dataclass(eq=False, slots=True)
class _Server:
    """A model server's process.

    Attributes:
        process: What runs.
        starting: Ends once gateways have heard that it answers, or with the reason why it can't.
        taken_over: Another deployer started it: it may have answered for long.
        ending: Ends once the process has.
    """

    process: ProcessSpec
    starting: asyncio.Task[None]
    taken_over: bool
    ending: asyncio.Task[None] | None = None

    @property
    def model(self) -> str:
        """Its model's name."""
        return self.process.env["FRAMEMESH_MODEL_NAME"]

    @property
    def number(self) -> int:
        """Its own number within the model."""
        return int(self.process.env["FRAMEMESH_REPLICA"])

    def stands_in(self) -> bool:
        """Whether it runs what is still made for another runtime."""
        return _STANDS_IN_FOR in self.process.env

    def stands_in_for(self, spec: ModelSpec) -> bool:
        """Whether that is this version."""
        with suppress(InvalidSpecError):
            return same_version(load(self.model, self.process.env.get(_STANDS_IN_FOR, "").encode()), spec)
        return False

    def serves(self, process: ProcessSpec) -> bool:
        """Whether it loads the same, set in the same way, as that process would."""
        return _settings(self.process.env) == _settings(process.env)

    def ready(self) -> bool:
        """Whether it has ever answered."""
        return self.starting.done() and not self.failed()

    def may_answer(self) -> bool:
        """Whether calls may go to it."""
        return self.ready() or (self.taken_over and not self.failed())

    def failed(self) -> bool:
        """Whether it could not start."""
        return self.starting.done() and (self.starting.cancelled() or self.starting.exception() is not None)


class LocalBackend:
    """Runs workers and servers around the block, as processes that outlive it if this process is killed.

    Those that a killed deployer left are taken over where they are what is wanted; its workers are ended.

    Args:
        bus: Where servers say that they answer.
        data_dir: Where logs and prepared models are kept.
    """

    def __init__(self, bus: Bus, data_dir: Path) -> None:
        self._bus = bus
        self._folder = data_dir.resolve()
        self._cache = self._folder / "models" / "prepared"
        self._stand_ins = self._folder / "models" / "stand-ins"
        self._logs = self._folder / "logs"
        self._supervisor = Supervisor(self._logs, on_event=lambda words: log.warning("process.event", words=words))
        self._room = asyncio.Semaphore(_PREPARED_AT_ONCE)
        self._servers: dict[str, _Server] = {}
        self._cramped: set[str] = set()  # models whose export lacked memory beside a stand-in

    async def __aenter__(self) -> Self:
        await self._supervisor.__aenter__()
        for found in list(deployed(self._folder)):
            if found.program == "model_server":
                log.info("server.taken_over", model=found.env["FRAMEMESH_MODEL_NAME"], process_id=found.process.pid)
                self._run(model_server_with(found.env), TakenOver(found.process))
            elif worker.is_worker(found.program, found.arguments):
                with suppress(ProcessLookupError):
                    os.killpg(found.process.pid, signal.SIGKILL)
        await asyncio.to_thread(clear_unfinished, self._cache)
        for folder in self._stand_ins.glob("*"):
            await self._clear(folder.name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end(list(self._servers.values()))

    async def owned(self) -> set[str]:
        """As `Backend` says."""
        return {server.model for server in self._servers.values()}

    async def prepare(self, spec: ModelSpec, tell: Tell) -> Release:
        """As `Backend` says. Exporting may take minutes: where nothing answers yet, torch does meanwhile."""
        if self._room.locked():
            tell(Phase.DEPLOYMENT_PHASE_PENDING, 0, "")
        await self._end(
            server
            for server in list(self._servers.values())
            if server.model == spec.name
            and server.stands_in()
            and (server.failed() or server.ending or spec.name in self._cramped or not server.stands_in_for(spec))
        )
        waited_for = spec.replicas > 0 and not spec.shadow and not await self.answers(spec.name)
        stand_in = self._stand_ins / spec.name if waited_for and spec.name not in self._cramped else None
        async with self._room, self._worker(await self._localised(spec, tell), stand_in) as process:
            assert process.stdout is not None  # noqa: S101 - a pipe, as it was started
            line = b""
            async for line in process.stdout:
                if (step := worker.read_step(line)) is not None:
                    tell(step.phase, step.progress, "")
                elif stand_in is not None and worker.has_stand_in(line):
                    starting = self._run_stand_in(spec, stand_in).starting
                    starting.add_done_callback(partial(_go_on, spec.name, process))
                    asyncio.get_running_loop().call_later(_HEAD_START_SECONDS, _let_go_on, process)
            code = await process.wait()
            if code == -signal.SIGKILL and any(server.stands_in() for server in self._of(spec.name)):
                self._cramped.add(spec.name)  # for lack of memory, most likely: the next try has it for itself
            else:
                self._cramped.discard(spec.name)
            return worker.outcome(spec, code, line)

    async def _localised(self, spec: ModelSpec, tell: Tell) -> ModelSpec:
        """The spec as a worker can load it: of a demo model this makes the folder."""
        if spec.source.startswith(PREFIX):
            tell(Phase.DEPLOYMENT_PHASE_DOWNLOADING, 0, "")
            spec = await localised(check_source(spec), self._folder / "models" / "demo")
        return spec

    async def roll_out(self, release: Release, replicas: int, tell: Tell) -> None:
        """As `Backend` says."""
        model = release.spec.name
        # Runtime, precision and task are what it was prepared for.
        labels = release.spec.candidate_labels
        served = complete(ModelSpec(name=model, source=release.source, candidate_labels=labels))
        example = self._process(served, 0)
        servers = [server for server in self._of(model) if not server.failed()]
        fitting = [server for server in servers if server.serves(example)]
        fitting.sort(key=lambda server: (not server.ready(), server.number))
        # What failed, and what was to come but never came, makes room first.
        await self._end(server for server in self._of(model) if server not in fitting and not server.may_answer())
        while len(fitting) < replicas:
            fitting.append(self._run(self._process(served, self._free_number(model))))
        kept = fitting[:replicas]
        await _until_ready(kept, tell)
        if surplus := [server for server in self._of(model) if server not in kept]:
            await asyncio.sleep(_HEARD_SECONDS)
            await self._end(surplus)

    async def answers(self, model: str) -> bool:
        """As `Backend` says."""
        return any(not server.failed() for server in self._of(model))

    async def remove(self, model: str) -> None:
        """As `Backend` says."""
        await self._end(self._of(model))

    def _of(self, model: str) -> list[_Server]:
        """A model's servers, but for those that end already."""
        return [server for server in self._servers.values() if server.model == model and server.ending is None]

    def _free_number(self, model: str) -> int:
        return next(number for number in count() if model_process(model, number) not in self._servers)

    def _run_stand_in(self, spec: ModelSpec, folder: Path) -> _Server:
        log.info("deployment.stand_in", model=spec.name)
        torch = ModelSpec(
            name=spec.name,
            source=str(folder),
            runtime=Runtime.RUNTIME_TORCH,
            candidate_labels=spec.candidate_labels,
        )
        process = self._process(complete(torch), self._free_number(spec.name))
        env = {**process.env, _STANDS_IN_FOR: dump(spec).decode()}
        return self._run(replace(process, env=env))

    async def _clear(self, model: str) -> None:
        """Remove what stood in for a model, unless it still does."""
        if not any(server.model == model and server.stands_in() for server in self._servers.values()):
            await asyncio.to_thread(shutil.rmtree, self._stand_ins / model, ignore_errors=True)

    def _process(self, spec: ModelSpec, number: int) -> ProcessSpec:
        inherited = {name: value for name, value in os.environ.items() if name.startswith("FRAMEMESH_")}
        made = model_server(inherited, spec, number, cache=self._cache, grpc_port=free_port(), http_port=free_port())
        return replace(made, env={**made.env, **mark(self._folder)}, start_seconds=_START_SECONDS)

    def _run(self, process: ProcessSpec, running: TakenOver | None = None) -> _Server:
        starting = asyncio.create_task(self._bring_up(process, running), name=f"start {process.name}")
        server = _Server(process, starting, taken_over=running is not None)
        self._servers[process.name] = server
        return server

    async def _bring_up(self, process: ProcessSpec, running: TakenOver | None) -> None:
        try:
            await self._supervisor.start(process, running=running)
        except ConfigurationError as error:
            if "signal SIGKILL" in str(error):
                raise ConfigurationError(f"out of memory, most likely: {error}") from error
            raise
        await self._until_announced(process.env)

    async def _until_announced(self, env: dict[str, str]) -> None:
        """Wait until gateways can hear that the server answers."""
        key = routes.route_key(ModelReplica(model=env["FRAMEMESH_MODEL_NAME"], replica=env["FRAMEMESH_REPLICA"]))
        _, _, port = env["FRAMEMESH_GRPC_ADDRESS"].rpartition(":")
        while True:
            with suppress(nats.errors.Error, TimeoutError):  # also while there is no such entry
                entry = await (await self._bus.js.key_value(ROUTES_BUCKET)).get(key)
                replica = routes.load(entry.value or b"")
                if (
                    replica is not None
                    and replica.grpc_address.endswith(f":{port}")
                    and replica.state == ReplicaState.REPLICA_STATE_SERVING
                ):
                    return
            await asyncio.sleep(_POLL_SECONDS)

    async def _end(self, servers: Iterable[_Server]) -> None:
        """End servers, all at once, and wait for it; whoever stops waiting doesn't stop that."""
        ending = []
        for server in servers:
            if server.ending is None:
                server.ending = asyncio.create_task(self._stop(server), name=f"stop {server.process.name}")
            ending.append(server.ending)
        if ending:
            await asyncio.wait(ending)

    async def _stop(self, server: _Server) -> None:
        await cancelled(server.starting)
        await self._supervisor.stop(server.process.name)
        del self._servers[server.process.name]
        await self._clear(server.model)

    @asynccontextmanager
    async def _worker(self, spec: ModelSpec, stand_in: Path | None) -> AsyncIterator[asyncio.subprocess.Process]:
        """The process that prepares a model, around the block."""
        with (self._logs / f"prepare-{spec.name}.log").open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", worker.PROGRAM,
                *worker.arguments(spec, cache=str(self._cache), stand_in=str(stand_in or "")),
                env={**os.environ, **mark(self._folder)},
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors,
                start_new_session=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            await asyncio.to_thread(clear_unfinished, self._cache)
            await self._clear(spec.name)


async def _until_ready(servers: list[_Server], tell: Tell) -> None:
    """Wait until all answer; nothing is told where they do.

    Raises:
        ConfigurationError: One can't.
    """
    coming = {server.starting for server in servers if not server.ready()}
    while coming:
        tell(Phase.DEPLOYMENT_PHASE_STARTING, 1 - len(coming) / len(servers), "")
        done, coming = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


def _let_go_on(process: asyncio.subprocess.Process) -> None:
    """Have the worker go on, which has left the cores to the stand-in's start."""
    assert process.stdin is not None  # noqa: S101 - a pipe, as it was started
    process.stdin.close()


def _go_on(model: str, process: asyncio.subprocess.Process, starting: asyncio.Task[None]) -> None:
    _let_go_on(process)
    if not starting.cancelled() and (error := starting.exception()) is not None:
        log.warning("deployment.no_stand_in", model=model, error=str(error))


def _settings(env: Mapping[str, str]) -> dict[str, str]:
    """All of its variables that make a difference to what a server answers, or to whom."""
    return {name: value for name, value in env.items() if name not in _OWN_OF_EACH}
