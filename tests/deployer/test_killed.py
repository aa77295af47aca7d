"""A deployer that is killed at every step of a deployment is followed by one that goes on."""

from collections.abc import AsyncIterator

import pytest

from framemesh.bus import Bus
from framemesh.client import AsyncClient
from framemesh.lake import Lake
from framemesh.specs import parse
from framemesh.v1.model_pb2 import DeploymentPhase, ReplicaState
from tests.deployer.conftest import Deployer, PutVersion, deploying, model, of_hub, settled, until
from tests.deployer.traffic import traffic
from tests.faults.proxy import Proxy, proxy
from tests.model_server.hub import Hub


@pytest.fixture(scope="module")
async def before_s3(s3: dict[str, str]) -> AsyncIterator[Proxy]:
    """The way from the deployer to the lake."""
    async with proxy(int(s3["FRAMEMESH_S3_ENDPOINT"].rpartition(":")[2])) as before:
        yield before


@pytest.fixture(scope="module")
async def deployer(
    client: AsyncClient,
    nats: str,
    s3: dict[str, str],
    served: Hub,
    before_s3: Proxy,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Deployer]:
    folder = tmp_path_factory.mktemp("deployer")
    env = {
        "FRAMEMESH_NATS_URL": nats,
        **s3,
        "FRAMEMESH_S3_ENDPOINT": f"http://127.0.0.1:{before_s3.port}",
        "FRAMEMESH_WORKERS": "1",
        **of_hub(served, folder),
    }
    async with deploying(folder, env) as deployer:
        yield deployer


@pytest.mark.timeout(900)
async def test_a_deployer_killed_at_every_step_ends_in_the_right_state_with_nothing_left_over(
    deployer: Deployer,
    client: AsyncClient,
    bus: Bus,
    lake: Lake,
    served: Hub,
    before_s3: Proxy,
    version: PutVersion,
    s3: dict[str, str],
) -> None:
    first, second, broken = await version("first"), await version("second"), await version("third", broken=True)

    # What is prepared for the first time.
    served.flowing.clear()
    await client.deploy(parse("tiny=owner/model,runtime=torch,policy=every"))
    await killed_at(deployer, client, "PENDING")
    await killed_at(deployer, client, "DOWNLOADING")
    served.flowing.set()
    await killed_at(deployer, client, "EXPORTING")
    await reached(client, "DOWNLOADING")  # the next deployer is at it
    await reached(client, "EXPORTING")
    before_s3.stall()
    await killed_at(deployer, client, "UPLOADING")
    await before_s3.mend()
    await killed_at(deployer, client, "STARTING")
    await settled(client, "tiny", "READY", ready=1)
    (server,) = deployer.running()
    asked = served.requests
    deployer.kill()
    deployer.start()
    await client.scale("tiny", 2)
    await settled(client, "tiny", "READY", ready=2)
    assert server in deployer.running()  # it was taken over
    assert served.requests == asked  # its sibling came from the lake

    # What is replaced while it serves.
    async with traffic(client, bus, "tiny") as seen:
        await client.deploy(parse(f"tiny={first},policy=every"))
        await killed_at(deployer, client, "ROLLING_OUT")
        await settled(client, "tiny", "READY", ready=1)
        (old,) = deployer.running()
        old.suspend()  # it will not end yet
        await client.deploy(parse(f"tiny={second},policy=every"))
        await until(lambda: _serves(client, "second"))
        deployer.kill()
        old.resume()
        deployer.start()
        await settled(client, "tiny", "READY", ready=1)
        assert old not in deployer.running()
        await client.deploy(parse(f"tiny={broken},policy=every"))
        await killed_at(deployer, client, "ROLLING_OUT")
        await settled(client, "tiny", "ROLLED_BACK", ready=1)
        assert len(deployer.running()) == 1
        await seen.more(1)
    assert seen.errors == []

    # What is deleted while it is prepared.
    before_s3.stall()
    await client.deploy(parse("half=owner/model,runtime=torch"))
    await client.delete("tiny")
    await killed_at(deployer, client, "DOWNLOADING", "half")
    await client.delete("half")
    await before_s3.mend()
    await until(lambda: not deployer.running())
    assert not list((deployer.folder / "models").rglob("*.unfinished"))


async def killed_at(deployer: Deployer, client: AsyncClient, phase: str, name: str = "tiny") -> None:
    """Kill the deployer once the deployment has come to a phase, and start another."""
    await reached(client, phase, name)
    deployer.kill()
    deployer.start()


async def reached(client: AsyncClient, phase: str, name: str = "tiny") -> None:
    wanted = DeploymentPhase.Value(f"DEPLOYMENT_PHASE_{phase}")

    async def look() -> bool:
        found = await model(client, name)
        assert found.status.phase != DeploymentPhase.DEPLOYMENT_PHASE_FAILED, found.status.message
        return found.status.phase == wanted and found.status.generation == found.generation

    await until(look)


async def _serves(client: AsyncClient, version: str) -> bool:
    serving = ReplicaState.REPLICA_STATE_SERVING
    replicas = (await model(client, "tiny")).replicas
    return any((replica.model_version, replica.state) == (version, serving) for replica in replicas)
