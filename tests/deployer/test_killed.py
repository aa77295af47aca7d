"""A deployer that is killed at every step of a deployment is followed by one that goes on."""

import os
from collections.abc import AsyncIterator

import pytest

from framemesh.bus import Bus
from framemesh.bus.streams import DEPLOYMENTS_BUCKET
from framemesh.client import AsyncClient
from framemesh.specs import parse
from framemesh.v1.model_pb2 import DeploymentPhase, ReplicaState
from tests.deployer.conftest import Deployer, PutVersion, Wish, deploying, keys, model, of_hub, settled, until
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


@pytest.mark.skipif("FRAMEMESH_ROLLOUT_CALLS" not in os.environ, reason="a minute of CPU: `make rollouts` runs it")
@pytest.mark.timeout(600)
async def test_a_deployer_killed_at_every_step_of_a_first_deployment_is_followed_by_one_that_goes_on(
    deployer: Deployer, client: AsyncClient, served: Hub, before_s3: Proxy
) -> None:
    served.flowing.clear()
    wish: Wish = await client.deploy_model(parse("tiny=owner/model,runtime=torch"))
    await killed_at(deployer, client, "PENDING")
    await killed_at(deployer, client, "DOWNLOADING")
    served.flowing.set()
    killed = await killed_at(deployer, client, "EXPORTING")
    await reached(client, "EXPORTING", after=killed)  # the next deployer's
    before_s3.stall()
    await killed_at(deployer, client, "UPLOADING")
    await before_s3.mend()
    await killed_at(deployer, client, "STARTING")
    await settled(client, wish, "READY", ready=1)
    (server,) = deployer.running()
    asked = served.requests
    deployer.kill()
    deployer.start()
    wish = await client.scale_model("tiny", 2)
    await settled(client, wish, "READY", ready=2)
    assert server in deployer.running()  # it was taken over
    assert served.requests == asked  # its sibling came from the lake
    before_s3.stall()
    await client.deploy(parse("half=owner/model,runtime=torch"))
    await client.delete("tiny")
    await killed_at(deployer, client, "DOWNLOADING", "half")
    await client.delete("half")
    await before_s3.mend()
    await until(lambda: not deployer.running())
    assert not list((deployer.folder / "models").rglob("*.unfinished"))


@pytest.mark.timeout(600)
async def test_a_deployer_killed_at_every_step_of_a_roll_out_costs_no_call_and_no_result(
    deployer: Deployer, client: AsyncClient, bus: Bus, version: PutVersion
) -> None:
    first, second, broken = await version("first"), await version("second"), await version("third", broken=True)
    wish = await client.deploy_model(parse(f"tiny={first},policy=every"))
    await settled(client, wish, "READY", ready=1)
    async with traffic(client, bus, "tiny") as seen:
        wish = await client.deploy_model(parse(f"tiny={second},policy=every"))
        await killed_at(deployer, client, "ROLLING_OUT")
        await settled(client, wish, "READY", ready=1)
        wish = await client.deploy_model(parse(f"tiny={first},policy=every"))
        await until(lambda: _serves(client, "first"))
        deployer.kill()  # before the old server is told to end
        deployer.start()
        await settled(client, wish, "READY", ready=1)
        wish = await client.deploy_model(parse(f"tiny={second},policy=every"))
        await until(lambda: _serves(client, "second"))
        await until(lambda: _serves(client, "first", does=False))
        deployer.kill()  # after it was
        deployer.start()
        await settled(client, wish, "READY", ready=1)
        wish = await client.deploy_model(parse(f"tiny={broken},policy=every"))
        await killed_at(deployer, client, "ROLLING_OUT")
        found = await settled(client, wish, "ROLLED_BACK", ready=1)
        assert found.replicas[0].model_version == "second"
        assert len(deployer.running()) == 1
        await seen.more(1)
    assert seen.errors == []
    assert set(seen.results) == set(seen.sent)
    assert set(seen.results.values()) == {1}
    await client.delete("tiny")
    deployer.kill()
    deployer.start()
    await until(lambda: _nothing_is_told(bus))
    assert not deployer.running()


async def _nothing_is_told(bus: Bus) -> bool:
    return not await keys(bus, DEPLOYMENTS_BUCKET)


async def killed_at(deployer: Deployer, client: AsyncClient, phase: str, name: str = "tiny") -> int:
    """Kill the deployer once the deployment has come to a phase, and start another; returns when the first spoke."""
    spoke = await reached(client, phase, name)
    deployer.kill()
    deployer.start()
    return spoke


async def reached(client: AsyncClient, phase: str, name: str = "tiny", *, after: int = 0) -> int:
    """Wait until a deployer says, after a time in Unix nanoseconds, that it is at a phase; returns when it did."""
    wanted = DeploymentPhase.Value(f"DEPLOYMENT_PHASE_{phase}")

    async def look() -> int | None:
        found = await model(client, name)
        assert found.status.phase != DeploymentPhase.DEPLOYMENT_PHASE_FAILED, found.status.message
        there = found.status.phase == wanted and found.status.generation == found.generation
        spoke = found.status.update_time.ToNanoseconds()
        return spoke if there and spoke > after else None

    spoke: int = await until(look)
    return spoke


async def _serves(client: AsyncClient, version: str, *, does: bool = True) -> bool:
    serving = ReplicaState.REPLICA_STATE_SERVING
    replicas = (await model(client, "tiny")).replicas
    return does == any((replica.model_version, replica.state) == (version, serving) for replica in replicas)
