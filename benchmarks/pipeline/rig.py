"""Real servers for measurements, each in its own process, and what CPU each of them takes."""

import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import SecretStr

from framemesh.bus import Bus, connect, streams
from framemesh.client import AsyncClient
from framemesh.frames import FrameId, headers, subject
from framemesh.lake import Lake
from framemesh.mesh import processes
from framemesh.mesh.servers import HOST, Credentials, free_port, nats_server, nats_url, s3_server
from framemesh.mesh.supervision import ProcessSpec, Supervisor
from framemesh.specs import parse
from gateway.settings import GatewaySettings

_CREDENTIALS = Credentials("bench", "only-on-this-machine")
_DRAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Rig:
    """NATS and S3 servers that run, and what starts services beside them."""

    supervisor: Supervisor
    settings: GatewaySettings
    env: Mapping[str, str]
    bus: Bus
    s3: ProcessSpec

    async def start_gateway(self) -> int:
        """Start the gateway as a process, and return its gRPC port."""
        port = free_port()
        await self.supervisor.start(
            processes.gateway(self.env, grpc_port=port, http_port=free_port(), drain_seconds=_DRAIN_SECONDS)
        )
        return port

    async def start_models(self, client: AsyncClient, *names: str) -> None:
        """Deploy models under `every`, served by one process of echoes that has the first one's name."""
        for name in names:
            await client.deploy(parse(f"{name}=echo,policy=every"))

        async def ready() -> bool:
            serving = {model.spec.name for model in await client.models() if model.replicas}
            reading = {info.name for info in await self.bus.js.consumers_info(streams.STORED)}
            return serving.issuperset(names) and reading.issuperset(map(streams.model_consumer, names))

        argv = (sys.executable, "-m", "benchmarks.pipeline.echo", *names)
        await self.supervisor.start(ProcessSpec(names[0], argv, dict(self.env), ready))

    def lake(self, bucket: str) -> Lake:
        """A bucket by the gateway's own client."""
        return Lake.from_settings(self.settings, bucket=bucket)

    def cpu_seconds(self) -> dict[str, float]:
        """CPU that each process has taken since it started, by name."""
        found = {}
        for name, pid in self.supervisor.pids().items():
            times = psutil.Process(pid).cpu_times()
            found[name] = times.user + times.system
        return found


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    """Servers on free ports around the block, with their data in a folder that goes with them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nats_port, s3_port = free_port(), free_port()
        env = {
            "FRAMEMESH_NATS_URL": nats_url(nats_port, _CREDENTIALS),
            "FRAMEMESH_S3_ENDPOINT": f"http://{HOST}:{s3_port}",
            "FRAMEMESH_S3_ACCESS_KEY": _CREDENTIALS.user,
            "FRAMEMESH_S3_SECRET_KEY": _CREDENTIALS.password,
        }
        settings = GatewaySettings(
            nats_url=SecretStr(env["FRAMEMESH_NATS_URL"]),
            s3_endpoint=env["FRAMEMESH_S3_ENDPOINT"],
            s3_access_key=SecretStr(_CREDENTIALS.user),
            s3_secret_key=SecretStr(_CREDENTIALS.password),
        )
        async with Supervisor(folder / "logs", on_event=print) as supervisor:
            await supervisor.start(nats_server(folder / "nats", nats_port, _CREDENTIALS))
            s3 = s3_server(folder / "s3", s3_port, _CREDENTIALS)
            await supervisor.start(s3)
            async with connect(env["FRAMEMESH_NATS_URL"], name="bench") as bus:
                await streams.ensure(bus, settings.stream_sizes())
                yield Rig(supervisor, settings, env, bus, s3)


async def publish(bus: Bus, camera: str, captured_ns: int, body: bytes, sequence: int) -> None:
    """Publish a frame as our own camera agent does."""
    words = headers(
        FrameId(camera, captured_ns), content_type="image/jpeg", width_px=1280, height_px=720, sequence=sequence
    )
    await bus.publish(subject(camera), body, words, timeout=30)
