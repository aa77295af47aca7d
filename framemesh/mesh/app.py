"""`framemesh up`: the whole mesh on one machine, from the servers to the report."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nats.errors
import psutil
from pydantic import SecretStr
from rich.console import Console
from rich.text import Text

from framemesh.bus import Bus, connect, streams
from framemesh.bus.states import unfinished
from framemesh.client import AsyncClient
from framemesh.errors import BusUnavailableError, ConfigurationError, LakeUnavailableError
from framemesh.lake import Lake
from framemesh.mesh import disk, observing, processes, report, servers
from framemesh.mesh.cameras import check_cameras
from framemesh.mesh.demo import SOURCES, localised
from framemesh.mesh.deployed import deployed
from framemesh.mesh.disk import DiskWatch
from framemesh.mesh.door import Door
from framemesh.mesh.following import Models, model_processes
from framemesh.mesh.joining import MESH_FILE, MeshState, write_state
from framemesh.mesh.options import MeshOptions
from framemesh.mesh.progress import Progress
from framemesh.mesh.servers import HOST, Credentials
from framemesh.mesh.state import credentials, locked, write_processes
from framemesh.mesh.supervision import Supervisor
from framemesh.service import interrupted_by, running, stop_signals
from framemesh.settings import LakeSettings, ModelStoreSettings
from framemesh.specs import parse

_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 2.0
_END_SECONDS = 20.0


async def run_mesh(options: MeshOptions, console: Console) -> None:
    """Run a mesh until its time is up or a signal comes, then drain it and write the report.

    Raises:
        ConfigurationError: Something can't start; the message says why and what to do.
    """
    processes.check_services()
    if not options.cameras.checked_here:
        await asyncio.to_thread(check_cameras, options.cameras)
    if options.report is not None and not options.report.resolve().parent.is_dir():
        raise ConfigurationError(f"--report: there is no folder {options.report.resolve().parent}; make it first")
    with locked(options.data_dir):
        supervisor = Supervisor(options.data_dir / "logs", on_event=lambda words: console.print(Text(words, "yellow")))
        with stop_signals(on_second=partial(_kill, supervisor, options.data_dir)) as stopping:
            starting = interrupted_by(stopping)
            try:
                async with _mesh(options, supervisor, console) as mesh:
                    starting.cancel()
                    await mesh.run(stopping)
                    await mesh.finish()
            except asyncio.CancelledError:
                if not stopping.is_set():
                    raise
                console.print("stopped before everything had started")
            finally:
                starting.cancel()


@dataclass(frozen=True, slots=True)
class _Mesh:
    options: MeshOptions
    supervisor: Supervisor
    console: Console
    bus: Bus
    lake: Lake
    client: AsyncClient
    models: Models
    start: report.Position
    began: float

    async def run(self, stopping: asyncio.Event) -> None:
        """Show what happens until the time is up or a signal comes."""
        progress = Progress(self.bus, self.client, self.console)
        async with running(progress, drain_seconds=1.0):
            try:
                async with asyncio.timeout(self.options.duration):
                    await stopping.wait()
            except TimeoutError:
                pass

    async def finish(self) -> None:
        """Stop the cameras, let what was accepted be stored and answered, and report."""
        began = time.monotonic()
        await self.supervisor.stop("ingest")
        left = await self._drain()
        for what, count in left.items():
            some = count if count > 0 else "some"
            words = f"{some} frames still wait for {what}; the next start here goes on with them"
            self.console.print(Text(words, "yellow"))
        if self.options.report is not None:
            seconds = began - self.began
            counted = await self._count(seconds=seconds, until=began + self.options.drain_seconds)
            own_nats = self.options.external.nats_url is None
            counted["nats_sync_interval"] = "always" if own_nats else "as the server is set"
            self.options.report.write_text(json.dumps(counted, indent=2) + "\n")
            self.console.print(f"report: {self.options.report}")
        await self.supervisor.stop("console")
        await self.supervisor.stop("gateway")
        await self.supervisor.stop("archiver")  # writes what came until now
        self.console.print(f"{'stopped' if left else 'drained'} after {time.monotonic() - began:.1f} s")

    async def _drain(self) -> dict[str, int]:
        """Wait until nothing is left to store or to answer, or the time is up; return what still is.

        What waits for a model that has failed is not waited for.
        """
        began = time.monotonic()
        told = False
        while (left := await self._left()).keys() - {f"model {name}" for name in self.models.unserved}:
            if time.monotonic() > began + self.options.drain_seconds:
                break
            if not told and time.monotonic() > began + _PATIENCE_SECONDS:
                told = True
                waits = ", ".join(f"{what} ({count if count > 0 else 'some'} frames)" for what, count in left.items())
                self.console.print(f"waiting for {waits}; Ctrl-C again ends at once")
            await asyncio.sleep(_POLL_SECONDS)
        return left

    async def _count(self, *, seconds: float, until: float) -> dict[str, object]:
        """The report; begun again, until then, while NATS or the S3 server is being restarted."""
        while True:
            try:
                return await report.count(self.bus, self.lake, self.start, self.models.specs, seconds=seconds)
            except (BusUnavailableError, LakeUnavailableError, nats.errors.Error, TimeoutError):
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(_POLL_SECONDS)

    async def _left(self) -> dict[str, int]:
        """What has yet to be done, and how much; nothing only if so at two looks.

        NATS has a message a moment before it counts it for the consumer that is to get it.
        """
        if left := await self._look():
            return left
        await asyncio.sleep(_POLL_SECONDS)
        return await self._look()

    async def _look(self) -> dict[str, int]:
        consumers = {"the lake": (streams.FRAMES, streams.STORE_CONSUMER)}
        for spec in self.models.specs:
            if spec.replicas:
                consumers[f"model {spec.name}"] = (streams.STORED, streams.model_consumer(spec.name))
        left = {}
        for what, (stream, consumer) in consumers.items():
            try:
                info = await self.bus.js.consumer_info(stream, consumer)
            except (nats.errors.Error, TimeoutError):
                left[what] = -1  # NATS, or the gateway that makes the consumers, is being restarted
            else:
                left[what] = unfinished(info)
        return {what: count for what, count in left.items() if count}


@asynccontextmanager
async def _mesh(options: MeshOptions, supervisor: Supervisor, console: Console) -> AsyncIterator[_Mesh]:
    """Everything, in order: servers, gateway, models, cameras; stopped in reverse."""
    folder = options.data_dir.resolve()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, _end_deployed, folder)
        await stack.enter_async_context(supervisor)
        supervisor.on_change = lambda: write_processes(folder, supervisor.pids())
        env, own, agents, viewers = await _start_servers(options, folder, supervisor, console)
        if options.external.nats_url is None:
            watch = DiskWatch(
                folder, lambda: supervisor.restart("nats"), lambda words: console.print(Text(words, "red"))
            )
            await stack.enter_async_context(running(watch, drain_seconds=1.0))
        bus = await stack.enter_async_context(connect(env["FRAMEMESH_NATS_URL"], name="mesh"))
        settings = LakeSettings(  # region and bucket come from the environment, as those of the services do
            s3_endpoint=env["FRAMEMESH_S3_ENDPOINT"],
            s3_access_key=SecretStr(env["FRAMEMESH_S3_ACCESS_KEY"]),
            s3_secret_key=SecretStr(env["FRAMEMESH_S3_SECRET_KEY"]),
        )
        lake = await stack.enter_async_context(Lake.from_settings(settings, bucket=settings.s3_frames_bucket))
        start = await report.position(bus)
        grpc_port = _port(options.ports.grpc, "--grpc-port")
        http_port = _port(options.ports.http, "--http-port")
        await supervisor.start(
            processes.gateway(
                {**env, **own},
                grpc_port=grpc_port,
                http_port=http_port,
                drain_seconds=options.drain_seconds,
                tls=options.door.ca_file,
            )
        )
        archiver_port = servers.free_port()
        await supervisor.start(processes.archiver(env, http_port=archiver_port))
        client = await stack.enter_async_context(
            AsyncClient(f"{HOST}:{grpc_port}", token=options.door.token, tls=options.door.ca_file)
        )
        deployer_port, console_http_port = servers.free_port(), servers.free_port()
        console_port = _port(options.ports.console, "--console-port")
        await asyncio.gather(
            supervisor.start(processes.deployer(env, folder, http_port=deployer_port)),
            supervisor.start(
                processes.console(
                    viewers,
                    gateway=f"{HOST}:{grpc_port}",
                    port=console_port,
                    http_port=console_http_port,
                    tls=options.door.ca_file,
                )
            ),
        )
        console_url = f"{'https' if options.door.ca_file else 'http'}://{HOST}:{console_port}"
        console.print(f"console: {console_url}")
        models = Models(
            client,
            folder,
            on_event=lambda words: console.print(Text(words, "yellow")),
            on_change=supervisor.changed,
            must_serve=bool(options.models),
        )
        await stack.enter_async_context(running(models, drain_seconds=1.0))
        wanted = await _deploy(client, options, folder / "models" / "demo", console)
        await models.settled(wanted)
        http = {
            "gateway": f"{HOST}:{http_port}",
            "archiver": f"{HOST}:{archiver_port}",
            "deployer": f"{HOST}:{deployer_port}",
            "console": f"{HOST}:{console_http_port}",
        }
        prometheus_url = ""
        if options.observe:
            port = _port(options.ports.prometheus, "--prometheus-port")
            prometheus_url = await observing.start(folder / "prometheus", port, http, supervisor, console)
        if options.cameras:
            ingest_port = servers.free_port()
            await supervisor.start(processes.ingest(agents, options.cameras, http_port=ingest_port))
            http["ingest"] = f"{HOST}:{ingest_port}"
        began = time.monotonic()
        _keep_state(
            folder,
            supervisor,
            settings,
            f"{HOST}:{grpc_port}",
            http,
            nats_url=env["FRAMEMESH_NATS_URL"],
            console_url=console_url,
            door=options.door,
            prometheus_url=prometheus_url,
        )
        console.print(f"framemesh is up: gRPC on {HOST}:{grpc_port}, everything else in {folder / MESH_FILE}")
        if not options.cameras:
            console.print(
                "no cameras here: publish JPEG frames to NATS subject frames.<camera>; `framemesh env` says where"
            )
        yield _Mesh(options, supervisor, console, bus, lake, client, models, start, began)


async def _start_servers(
    options: MeshOptions, folder: Path, supervisor: Supervisor, console: Console
) -> tuple[dict[str, str], dict[str, str], dict[str, str], dict[str, str]]:
    """Start the servers that aren't elsewhere.

    Returns:
        The variables that say where all are, the gateway's own, those of camera agents, who know of NATS alone, and the
        console's, which may only listen there.
    """
    external = options.external
    sizes: dict[str, int] = {}
    own: dict[str, str] = {}
    nats_url = external.nats_url
    agents_url = viewers_url = nats_url or ""
    for variable, value in (("FRAMEMESH_NATS_URL", nats_url), ("FRAMEMESH_S3_ENDPOINT", external.s3_endpoint)):
        if value:
            console.print(f"{variable} is set: no server of our own in its place")
    if nats_url is None:
        port = _port(options.ports.nats, "--nats-port")
        sizes = disk.stream_bytes_for(folder, os.environ)
        own |= {name: str(number) for name, number in sizes.items()}
        if words := disk.small_words(sizes):
            console.print(Text(words, "yellow"))
        secret, agent = credentials(folder, "nats", "framemesh"), credentials(folder, "nats-ingest", "ingest")
        viewer = credentials(folder, "nats-console", "console")
        others: dict[Credentials, Mapping[str, object]] = {
            agent: servers.agent_permissions(agent.user),
            viewer: servers.console_permissions(viewer.user),
        }
        await supervisor.start(servers.nats_server(folder / "nats", port, secret, others=others))
        nats_url, agents_url = servers.nats_url(port, secret), servers.nats_url(port, agent)
        viewers_url = servers.nats_url(port, viewer)
    s3 = {
        "FRAMEMESH_S3_ENDPOINT": external.s3_endpoint or "",
        "FRAMEMESH_S3_ACCESS_KEY": external.s3_access_key or "",
        "FRAMEMESH_S3_SECRET_KEY": external.s3_secret_key or "",
    }
    if external.s3_endpoint is None:
        port = _port(options.ports.s3, "--s3-port")
        secret = credentials(folder, "s3", "framemesh")
        own["FRAMEMESH_STORE_SYNC_FOLDER"] = str(folder / "s3")
        make = partial(servers.s3_server, folder / "s3", port, secret, leave_bytes=sum(sizes.values()))
        await supervisor.start(await asyncio.to_thread(make))
        s3 = {
            "FRAMEMESH_S3_ENDPOINT": f"http://{HOST}:{port}",
            "FRAMEMESH_S3_ACCESS_KEY": secret.user,
            "FRAMEMESH_S3_SECRET_KEY": secret.password,
        }
    agents = {"FRAMEMESH_NATS_URL": agents_url, "FRAMEMESH_SPILL_FOLDER": str(folder / "spill")}
    return {"FRAMEMESH_NATS_URL": nats_url, **s3}, own, agents, {"FRAMEMESH_NATS_URL": viewers_url, **s3}


async def _deploy(client: AsyncClient, options: MeshOptions, demo_folder: Path, console: Console) -> dict[str, int]:
    """Make the desired state what the user asked for; returns the generation of each wish, by the model's name."""
    before = {model.spec.name: model.generation for model in await client.models()}
    asked = options.models
    if asked is None:
        if before:
            return before
        asked = tuple(parse(source, default_policy=options.policy) for source in SOURCES)
    for name in before.keys() - {spec.name for spec in asked}:
        await client.delete(name)
    if asked:
        console.print(f"preparing {', '.join(spec.name for spec in asked)}; the first time takes a minute or two")
    wishes = [await client.deploy_model(await localised(spec, demo_folder)) for spec in asked]
    return {wish.spec.name: wish.generation for wish in wishes}


def _kill(supervisor: Supervisor, folder: Path) -> None:
    """End everything at once, without draining."""
    supervisor.kill()
    for found in deployed(folder):
        with suppress(psutil.NoSuchProcess):
            found.process.kill()


def _end_deployed(folder: Path) -> None:
    """End the model servers that no deployer was there to end, as it had just crashed."""
    left = [found.process for found in deployed(folder)]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, late = psutil.wait_procs(left, timeout=_END_SECONDS)
    for process in late:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _keep_state(
    folder: Path,
    supervisor: Supervisor,
    lake: LakeSettings,
    address: str,
    http: dict[str, str],
    *,
    nats_url: str,
    console_url: str,
    door: Door,
    prometheus_url: str,
) -> None:
    """Write `mesh.json` now, and again whenever a process starts or ends, or a model server does."""

    def write() -> None:
        servers, pages = model_processes(folder)
        pids = {**supervisor.pids(), **servers}
        write_processes(folder, pids)
        if prometheus_url:
            observing.write_targets(folder / "prometheus", {**http, **pages})
        write_state(
            folder,
            MeshState(
                address=address,
                nats_url=nats_url,
                s3_endpoint=lake.s3_endpoint,
                s3_access_key=lake.s3_access_key.get_secret_value(),
                s3_secret_key=lake.s3_secret_key.get_secret_value(),
                s3_region=lake.s3_region,
                s3_frames_bucket=lake.s3_frames_bucket,
                s3_models_bucket=ModelStoreSettings().s3_models_bucket,
                http={**http, **pages},
                console_url=console_url,
                processes={"mesh": os.getpid(), **pids},
                token=door.token or "",
                tls_ca_file=str(door.ca_file or ""),
                prometheus_url=prometheus_url,
            ),
        )

    supervisor.on_change = write
    write()


def _port(chosen: int, flag: str) -> int:
    if chosen:
        servers.check_port(chosen, flag)
    return chosen or servers.free_port()
