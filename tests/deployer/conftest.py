"""A gateway and a deployer as processes, on the servers of the module, and small models."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from framemesh.bus import Bus
from framemesh.bus.watching import snapshots
from framemesh.client import AsyncClient
from framemesh.deploying import FAILED
from framemesh.mesh import processes
from framemesh.mesh.deployed import deployed
from framemesh.mesh.servers import HOST, free_port
from framemesh.mesh.supervision import Supervisor
from framemesh.settings import ModelStoreSettings
from framemesh.v1.model_pb2 import DeploymentPhase, Model
from framemesh.v1.model_service_pb2 import DeployModelResponse, ScaleModelResponse
from tests.deployer.versions import upload_version
from tests.gateway.conftest import until as until_true
from tests.model_server.hub import Hub, hub
from tests.models import cache, prepared, source

__all__ = ["cache", "prepared", "source"]

until = partial(until_true, seconds=90.0)


Wish = DeployModelResponse | ScaleModelResponse
PutVersion = Callable[..., Awaitable[str]]


@pytest.fixture(scope="module")
def version(prepared: Callable[..., Path], s3: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> PutVersion:
    """Puts another version of the small model into the lake; returns its URL."""
    store = ModelStoreSettings(
        s3_endpoint=s3["FRAMEMESH_S3_ENDPOINT"],
        s3_access_key=SecretStr(s3["FRAMEMESH_S3_ACCESS_KEY"]),
        s3_secret_key=SecretStr(s3["FRAMEMESH_S3_SECRET_KEY"]),
    )

    exported = prepared("vit")  # now, as it takes seconds in which nobody else gets a turn

    def put(name: str, **options: Any) -> Awaitable[str]:
        return asyncio.to_thread(upload_version, exported, name, store, tmp_path_factory.mktemp(name), **options)

    return put


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hub]:
    """A hub that has a small model."""
    from tests.model_server import tiny

    async with hub(tiny.make("vit", tmp_path_factory.mktemp("hub") / "vit")) as served:
        yield served


@pytest.fixture(scope="module")
async def address(supervisor: Supervisor, nats: str, s3: dict[str, str]) -> str:
    """Of a gateway that is a process of its own: calls must not wait for a test."""
    port = free_port()
    env = {"FRAMEMESH_NATS_URL": nats, **s3}
    await supervisor.start(processes.gateway(env, grpc_port=port, http_port=free_port(), drain_seconds=5))
    return f"{HOST}:{port}"


@pytest.fixture(scope="module")
async def client(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address) as client:
        yield client


def of_hub(served: Hub, folder: Path) -> dict[str, str]:
    """The variables of programs that ask this hub, and cache in the folder what it gives."""
    return {
        "HF_ENDPOINT": served.url,
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }


@dataclass
class Deployer:
    """A deployer's process, and what it started.

    Attributes:
        folder: Its data directory.
        env: Its variables.
    """

    folder: Path
    env: dict[str, str]
    process: subprocess.Popen[bytes] = field(init=False)
    _log_start: int = field(init=False)

    def start(self) -> None:
        with (self.folder / "deployer.log").open("ab") as log:
            self._log_start = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployer"],
                env={**os.environ, **self.env, "FRAMEMESH_DATA_DIR": str(self.folder)},
                stderr=log,
            )

    def has_begun(self) -> bool:
        """Whether it has come so far that a signal makes it drain."""
        return b"service.started" in (self.folder / "deployer.log").read_bytes()[self._log_start :]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def running(self, program: str = "") -> list[psutil.Process]:
        """The live processes that it started: of one program, or all of them."""
        return [found.process for found in deployed(self.folder) if program in {"", found.program}]


@asynccontextmanager
async def deploying(folder: Path, env: dict[str, str]) -> AsyncIterator[Deployer]:
    """A deployer around the block; whatever happens, nothing of it is left."""
    deployer = Deployer(folder, env)
    deployer.start()
    try:
        yield deployer
        await until(deployer.has_begun, seconds=60)
        deployer.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(partial(deployer.process.wait, timeout=60))
        assert deployer.process.returncode == 0
        assert not deployer.running()
    finally:
        deployer.kill()
        for process in deployer.running():
            with suppress(psutil.NoSuchProcess):
                process.kill()


async def model(client: AsyncClient, name: str) -> Model:
    return next((model for model in await client.models() if model.spec.name == name), Model())


async def settled(client: AsyncClient, wish: Wish, phase: str, *, ready: int | None = None) -> Model:
    """The model, once the wish has come to this phase, and so many servers answer."""
    wanted = DeploymentPhase.Value(f"DEPLOYMENT_PHASE_{phase}")

    async def look() -> Model | None:
        found = await model(client, wish.spec.name)
        status = found.status
        if status.generation < wish.generation:
            return None
        assert status.phase == wanted or status.phase not in FAILED, status.message
        return found if status.phase == wanted and ready in {None, status.ready_replica_count} else None

    found: Model = await until(look)
    return found


async def keys(bus: Bus, bucket: str) -> list[str]:
    """The keys in a bucket."""
    async with aclosing(snapshots(bus, bucket)) as following:
        return list(await anext(following))
