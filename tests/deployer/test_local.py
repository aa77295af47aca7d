"""Models that come, roll, scale and go as processes of this machine, under a constant stream of calls and frames.

`FRAMEMESH_ROLLOUT_CALLS` says how many calls (`make rollouts`: 10,000).
"""

import os
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from framemesh.bus import Bus
from framemesh.client import AsyncClient
from framemesh.specs import parse
from tests.deployer.conftest import Deployer, PutVersion, deploying, settled, until
from tests.deployer.traffic import CALLERS, traffic
from tests.pictures import jpeg

CALLS = int(os.environ.get("FRAMEMESH_ROLLOUT_CALLS", "400"))
STAGES = 4


@pytest.fixture(scope="module")
async def deployer(
    client: AsyncClient, nats: str, s3: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployer]:
    env = {"FRAMEMESH_NATS_URL": nats, **s3, "FRAMEMESH_WORKERS": "1"}
    async with deploying(tmp_path_factory.mktemp("deployer"), env) as deployer:
        yield deployer


@pytest.mark.timeout(300 + CALLS)
async def test_no_call_fails_and_no_result_is_missing_while_models_scale_roll_and_fail(
    deployer: Deployer, client: AsyncClient, bus: Bus, version: PutVersion
) -> None:
    first, second, broken = await version("first"), await version("second"), await version("third", broken=True)
    await client.deploy(parse(f"tiny={first},policy=every"))
    await settled(client, "tiny", "READY", ready=1)
    async with traffic(client, bus, "tiny") as seen:
        await client.scale("tiny", 3)
        await settled(client, "tiny", "READY", ready=3)
        await seen.more(CALLS // STAGES)
        await client.scale("tiny", 1)
        await settled(client, "tiny", "READY", ready=1)
        await seen.more(CALLS // STAGES)
        await client.deploy(parse(f"tiny={broken},policy=every"))
        found = await settled(client, "tiny", "ROLLED_BACK", ready=1)
        assert "model-tiny-" in found.status.message
        assert (found.status.serving.source, found.status.next.source) == (first, broken)
        await seen.more(CALLS // STAGES)
        assert set(seen.versions) == {"first"}
        await client.deploy(parse(f"tiny={second},policy=every,replicas=2"))
        found = await settled(client, "tiny", "READY", ready=2)
        assert [replica.model_version for replica in found.replicas] == ["second"] * 2
        begun = len(seen.versions) + CALLERS  # what was asked before, the first version may have answered
        await seen.more(CALLS // STAGES)
        assert set(seen.versions[begun:]) == {"second"}
    assert seen.errors == []
    assert set(seen.results) == set(seen.sent)
    assert set(seen.results.values()) == {1}
    print(f"{len(seen.versions)} calls, {len(seen.sent)} frames: {Counter(seen.versions)}")
    await client.delete("tiny")
    await until(lambda: not deployer.running())


async def test_a_server_that_is_killed_is_started_again(
    deployer: Deployer, client: AsyncClient, version: PutVersion
) -> None:
    await client.deploy(parse(f"mortal={await version('mortal')}"))
    await settled(client, "mortal", "READY", ready=1)
    (server,) = deployer.running("model_server")
    server.kill()
    await until(lambda: deployer.running("model_server") not in ([], [server]))
    await until(lambda: _answers(client, "mortal"))
    await client.delete("mortal")
    await until(lambda: not deployer.running())


async def _answers(client: AsyncClient, name: str) -> bool:
    (answer,) = (await client.analyze(jpeg(), models=[name])).answers
    return not answer.HasField("error")
