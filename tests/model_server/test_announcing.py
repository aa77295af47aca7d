import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from framemesh.bus import Bus, connect, routes, streams
from framemesh.bus.streams import ROUTES_BUCKET
from framemesh.bus.watching import snapshots
from framemesh.mesh.servers import free_port, nats_server, nats_url
from framemesh.mesh.supervision import Supervisor
from framemesh.service import running
from framemesh.v1.model_pb2 import ModelReplica, ReplicaState
from model_server.announcing import Announcer, Presence
from tests.conftest import CREDENTIALS, SIZES

KEY = "tiny.0"


@asynccontextmanager
async def announcing(url: str) -> AsyncIterator[Presence]:
    presence = Presence("tiny", "0", workers=2)
    async with running(Announcer(url, presence), drain_seconds=20):
        presence.open("10.0.0.7:50051")
        yield presence


async def seen(bus: Bus, state: ReplicaState.ValueType) -> ModelReplica:
    """The entry, once it has this state."""
    async with asyncio.timeout(30):
        async for content in snapshots(bus, ROUTES_BUCKET):
            replica = routes.load(content[KEY]) if KEY in content else None
            if replica is not None and replica.state == state:
                return replica
    raise AssertionError


async def gone(bus: Bus) -> None:
    async with asyncio.timeout(30):
        async for content in snapshots(bus, ROUTES_BUCKET):
            if KEY not in content:
                return


async def test_every_state_is_announced_at_once_and_the_entry_ends_with_the_server(bus: Bus, nats: str) -> None:
    async with announcing(nats) as presence:
        first = await seen(bus, ReplicaState.REPLICA_STATE_PREPARING)
        assert (first.model, first.replica, first.grpc_address) == ("tiny", "0", "10.0.0.7:50051")
        assert first.worker_count == 2
        assert first.heartbeat_time.ToNanoseconds() > 0
        presence.become(ReplicaState.REPLICA_STATE_LOADING)
        await seen(bus, ReplicaState.REPLICA_STATE_LOADING)
        presence.become(ReplicaState.REPLICA_STATE_SERVING, version="abc")
        assert (await seen(bus, ReplicaState.REPLICA_STATE_SERVING)).model_version == "abc"
        presence.become(ReplicaState.REPLICA_STATE_DRAINING)
        assert (await seen(bus, ReplicaState.REPLICA_STATE_DRAINING)).model_version == "abc"
    await gone(bus)


async def test_the_entry_is_renewed(bus: Bus, nats: str) -> None:
    async with announcing(nats):
        first = await seen(bus, ReplicaState.REPLICA_STATE_PREPARING)
        async with asyncio.timeout(20):
            while (await seen(bus, ReplicaState.REPLICA_STATE_PREPARING)).heartbeat_time == first.heartbeat_time:
                await asyncio.sleep(0.05)


async def test_nothing_is_announced_before_the_server_listens(bus: Bus, nats: str) -> None:
    async with running(Announcer(nats, Presence("tiny", "0", workers=2)), drain_seconds=20):
        await gone(bus)
    await gone(bus)


async def test_nats_may_come_late_and_go_for_a_while(tmp_path: Path) -> None:
    port = free_port()
    url = nats_url(port, CREDENTIALS)
    async with Supervisor(tmp_path, on_event=print) as supervisor, announcing(url) as presence:
        late = nats_server(tmp_path, port, CREDENTIALS)
        await supervisor.start(late)
        async with connect(url, name="tests") as bus:
            await streams.ensure(bus, SIZES)
            await seen(bus, ReplicaState.REPLICA_STATE_PREPARING)
            await supervisor.stop("nats")
            presence.become(ReplicaState.REPLICA_STATE_SERVING)
            await supervisor.start(late)
            await seen(bus, ReplicaState.REPLICA_STATE_SERVING)


async def test_without_nats_it_still_stops_at_once() -> None:
    async with asyncio.timeout(60), announcing(f"nats://127.0.0.1:{free_port()}"):
        pass
