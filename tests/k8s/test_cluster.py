"""The three NATS servers of the overlay `production`, as a cluster would run them."""

import asyncio
from dataclasses import replace

import nats.errors
import pytest

from framemesh.bus import connect, streams
from framemesh.errors import BusUnavailableError, FramemeshError
from framemesh.mesh.servers import HOST, free_port
from framemesh.mesh.supervision import Supervisor
from k8s.make_secrets import NATS_USERS
from tests.conftest import SIZES
from tests.gateway.conftest import until
from tests.k8s.rendering import Object
from tests.k8s.servers import fresh_secrets, nats_server


@pytest.fixture(scope="module")
async def urls(
    production: list[Object], supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """Each service's URLs, of servers that have found each other."""
    secrets, folder = fresh_secrets(), tmp_path_factory.mktemp("cluster")
    ports, cluster_ports = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
    password = secrets["nats"]["NATS_CLUSTER_PASSWORD"]
    routes = {f"NATS_ROUTE_{n}": f"nats://cluster:{password}@{HOST}:{port}" for n, port in enumerate(cluster_ports)}
    servers = [
        nats_server(
            production, secrets, folder / str(n), ports[n],
            name=f"nats-{n}", cluster_port=cluster_ports[n], NATS_PID_FILE=str(folder / f"{n}.pid"), **routes,
        )
        for n in range(3)
    ]  # fmt: skip
    async with asyncio.TaskGroup() as starting:  # none is ready alone
        for server in servers:
            starting.create_task(supervisor.start(server))
    return {
        service: [secrets[service]["FRAMEMESH_NATS_URL"].replace("@nats:4222", f"@{HOST}:{port}") for port in ports]
        for service in NATS_USERS
    }


async def test_every_stream_is_on_three_servers_and_outlives_one_of_them(
    urls: dict[str, list[str]], supervisor: Supervisor
) -> None:
    async with connect(",".join(urls["gateway"]), name="gateway") as bus:

        async def made() -> bool:
            try:
                await streams.ensure(bus, replace(SIZES, replicas=3))
            except (FramemeshError, nats.errors.Error):  # no leader yet, or not enough servers
                return False
            return True

        assert await until(made, seconds=60)
        for name in (streams.FRAMES, streams.STORED, streams.RESULTS, streams.DEADLETTERS, "KV_models", "KV_routes"):
            info = await bus.js.stream_info(name)
            assert info.config.num_replicas == 3, name
            assert info.cluster is not None
            assert len(info.cluster.replicas or []) == 2, name
        cluster = (await bus.js.stream_info(streams.FRAMES)).cluster
        assert cluster is not None
        assert cluster.leader is not None
        leader = cluster.leader
    stays = (int(leader[-1]) + 1) % 3
    async with (
        connect(urls["gateway"][stays], name="gateway") as bus,
        connect(urls["ingest"][stays], name="ingest") as camera,
    ):
        await camera.publish("frames.gate", b"one", {"Nats-Msg-Id": "gate-1"}, timeout=20)
        await supervisor.stop(leader)

        async def accepted() -> bool:
            try:
                await camera.publish("frames.gate", b"two", {"Nats-Msg-Id": "gate-2"}, timeout=5)
            except BusUnavailableError:
                return False
            return True

        assert await until(accepted, seconds=60)
        assert (await bus.js.stream_info(streams.FRAMES)).state.messages == 2
