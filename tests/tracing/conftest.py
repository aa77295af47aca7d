"""A small mesh whose services are real processes, and a collector that they send their spans to."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from framemesh.bus import Bus
from framemesh.client import AsyncClient
from framemesh.mesh import processes
from framemesh.mesh.servers import HOST, free_port
from framemesh.mesh.supervision import ProcessSpec, Supervisor
from framemesh.settings import ModelStoreSettings
from framemesh.specs import parse
from model_server.building import upload
from tests.gateway.conftest import has_consumer
from tests.tracing import model
from tests.tracing.collector import Collector, collecting


async def until(condition: Callable[[], Any]) -> Any:
    """Wait for a condition, plain or awaitable, and return what it gave."""
    async with asyncio.timeout(60):
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Mesh:
    """A mesh that traces, and what its tests need to know of it."""

    supervisor: Supervisor
    client: AsyncClient
    grpc_address: str
    gateway_page: str
    model_page: str
    logs: Path


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
async def mesh(
    nats: str,
    s3: dict[str, str],
    bus: Bus,
    supervisor: Supervisor,
    collector: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Mesh]:
    """A gateway and a model server of a small ViT, both with traces on."""
    folder = tmp_path_factory.mktemp("mesh")
    env = {"FRAMEMESH_NATS_URL": nats, **s3, **collector.variables}
    ports = {name: free_port() for name in ("grpc", "http", "model", "model_http")}
    gateway = processes.gateway(env, grpc_port=ports["grpc"], http_port=ports["http"], drain_seconds=5)
    await supervisor.start(gateway)
    address = f"{HOST}:{ports['grpc']}"
    store = ModelStoreSettings.model_validate({name.removeprefix("FRAMEMESH_").lower(): s3[name] for name in s3})
    await asyncio.to_thread(upload, model.make(folder / "model"), "lake://models/tiny/v1", store)
    spec = parse("lake://models/tiny/v1,policy=every")
    server = processes.model_server(
        env, spec, 0, cache=folder / "cache", grpc_port=ports["model"], http_port=ports["model_http"]
    )
    async with AsyncClient(address) as client:
        await client.deploy(spec)
        await supervisor.start(replace(server, env={**server.env, **collector.variables}))
        await until(lambda: _serves(client))
        await until(lambda: has_consumer(bus, spec.name))  # or it would not see the first frames
        gateway_page, model_page = (f"http://{HOST}:{ports[name]}/metrics" for name in ("http", "model_http"))
        yield Mesh(supervisor, client, address, gateway_page, model_page, supervisor._logs)


async def _serves(client: AsyncClient) -> bool:
    return any(model.replicas for model in await client.models())


def camera_agent(env: dict[str, str], picture: Path) -> ProcessSpec:
    """A camera agent as a process, whose one camera shows a picture: so rarely that no two frames are one batch."""
    cameras = f'[{{"name": "gate", "source": "{picture}", "fps": 0.2, "width_px": 64, "height_px": 48}}]'

    async def ready() -> bool:
        return True

    return ProcessSpec("ingest", (sys.executable, "-m", "ingest"), {**env, "FRAMEMESH_CAMERAS": cameras}, ready)
