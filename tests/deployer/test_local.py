"""Models that come, roll, scale and go as processes of this machine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from framemesh.client import AsyncClient
from framemesh.specs import parse
from tests.deployer.conftest import Deployer, deploying, settled, until
from tests.pictures import jpeg


@pytest.fixture(scope="module")
async def deployer(
    client: AsyncClient, nats: str, s3: dict[str, str], prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployer]:
    env = {"FRAMEMESH_NATS_URL": nats, **s3, "FRAMEMESH_WORKERS": "1"}
    async with deploying(tmp_path_factory.mktemp("deployer"), env, prepared=prepared) as deployer:
        yield deployer


async def test_a_model_comes_scales_and_goes(deployer: Deployer, client: AsyncClient, versions: list[Path]) -> None:
    await client.deploy(parse(f"tiny={versions[0]},runtime=torch"))
    found = await settled(client, "tiny", "READY", ready=1)
    assert found.status.serving.source.startswith("lake://models/tiny/sha256-")
    assert found.status.serving.model_version == found.replicas[0].model_version
    await client.scale("tiny", 3)
    await settled(client, "tiny", "READY", ready=3)
    await client.scale("tiny", 1)
    await settled(client, "tiny", "READY", ready=1)
    assert len((await client.analyze(jpeg())).answers) == 1
    await client.delete("tiny")
    await until(lambda: not deployer.running())
