"""Models that come, roll, scale and go as processes of this machine, under a constant stream of calls and frames.

`FRAMEMESH_ROLLOUT_CALLS` says how many calls (`make rollouts`: 10,000).
"""

import asyncio
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from unittest.mock import ANY

import aiohttp
import pytest

from framemesh.bus import Bus
from framemesh.client import AsyncClient
from framemesh.mesh.following import model_processes
from framemesh.specs import parse
from framemesh.v1.model_pb2 import DeploymentPhase, ModelReplica, ReplicaState, Runtime
from tests.deployer.conftest import Deployer, PutVersion, Wish, deploying, model, of_hub, settled, until
from tests.deployer.traffic import CALLERS, CALLS, traffic
from tests.model_server.hub import Hub
from tests.pictures import jpeg

STAGES = 4


@pytest.fixture(scope="module")
async def deployer(
    client: AsyncClient, nats: str, s3: dict[str, str], served: Hub, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployer]:
    folder = tmp_path_factory.mktemp("deployer")
    env = {"FRAMEMESH_NATS_URL": nats, **s3, "FRAMEMESH_WORKERS": "1", **of_hub(served, folder)}
    async with deploying(folder, env) as deployer:
        yield deployer


@pytest.mark.timeout(300 + CALLS)
async def test_no_call_fails_and_no_result_is_missing_while_models_scale_roll_and_fail(
    deployer: Deployer, client: AsyncClient, bus: Bus, version: PutVersion
) -> None:
    first, second, broken = await version("first"), await version("second"), await version("third", broken=True)
    wish: Wish = await client.deploy_model(parse(f"tiny={first},policy=every"))
    await settled(client, wish, "READY", ready=1)
    async with traffic(client, bus, "tiny") as seen:
        wish = await client.scale_model("tiny", 3)
        await settled(client, wish, "READY", ready=3)
        before = await answered(deployer)
        await seen.more(CALLS // STAGES)
        shares = await answered(deployer) - before  # of calls and frames, from the moment when all were ready
        assert len(shares) == 3
        wish = await client.scale_model("tiny", 1)
        await settled(client, wish, "READY", ready=1)
        await seen.more(CALLS // STAGES)
        wish = await client.deploy_model(parse(f"tiny={broken},policy=every"))
        found = await settled(client, wish, "ROLLED_BACK", ready=1)
        assert "model-tiny-" in found.status.message
        assert (found.status.serving.source, found.status.next.source) == (first, broken)
        await seen.more(CALLS // STAGES)
        assert set(seen.versions) == {"first"}
        wish = await client.deploy_model(parse(f"tiny={second},policy=every,replicas=2"))
        found = await settled(client, wish, "READY", ready=2)
        assert [replica.model_version for replica in found.replicas] == ["second"] * 2
        begun = len(seen.versions) + CALLERS  # what was asked before, the first version may have answered
        await seen.more(CALLS // STAGES)
        assert set(seen.versions[begun:]) == {"second"}
    assert seen.errors == []
    assert set(seen.results) == set(seen.sent)
    assert set(seen.results.values()) == {1}
    print(f"{len(seen.versions)} calls {dict(Counter(seen.versions))}, {len(seen.sent)} frames")
    print(f"shares {sorted(shares.values())}: most to least {max(shares.values()) / min(shares.values()):.2f}")
    await client.delete("tiny")
    await until(lambda: not deployer.running())


async def test_what_the_hub_will_not_give_fails_with_its_reason_and_the_old_version_keeps_serving(
    deployer: Deployer, client: AsyncClient, served: Hub, version: PutVersion
) -> None:
    wish = await client.deploy_model(parse(f"kept={await version('kept')}"))
    await settled(client, wish, "READY", ready=1)
    weights = served.folder / "model.safetensors"
    weights.rename(served.folder / "pytorch_model.bin")
    try:
        for source, why in (
            ("owner/other", "nor known at the hub"),
            ("owner/gated", "is gated at the hub"),
            ("owner/model", "pickled weights"),
            ("demo:nothing", "no demo model 'demo:nothing'; there are demo:"),
        ):
            wish = await client.deploy_model(parse(f"kept={source}"))
            found = await settled(client, wish, "ROLLED_BACK", ready=1)
            assert why in found.status.message
            (answer,) = (await client.analyze(jpeg(), models=["kept"])).answers
            assert answer.model_version == "kept"
    finally:
        (served.folder / "pytorch_model.bin").rename(weights)
    assert "pytorch_model.bin" not in served.downloaded
    await client.delete("kept")
    await until(lambda: not deployer.running())


async def test_the_command_deploys_scales_and_deletes_and_says_why_not(
    deployer: Deployer, address: str, version: PutVersion
) -> None:
    source = await version("commanded")
    assert await command(address, "deploy", source, "--name", "typed") == (0, "typed: ready 1/1\n", ANY)
    assert await command(address, "scale", "typed", "2") == (0, "typed: ready 2/2\n", ANY)
    code, _, told = await command(address, "deploy", "owner/gated", "--name", "typed")
    assert code == 1
    assert "ready 1/1, rolled back: model source 'owner/gated' is gated at the hub" in told
    assert await command(address, "delete", "typed") == (0, "", "")
    await until(lambda: not deployer.running())
    code, _, told = await command(address, "scale", "typed", "2")
    assert (code, told) == (1, "framemesh: no model 'typed'; deployed: none\n")


async def test_torch_answers_for_a_new_model_until_its_graph_is_ready_or_when_it_never_is(
    deployer: Deployer, client: AsyncClient, source: Callable[[str], Path], tmp_path: Path
) -> None:
    asked = parse(f"new={source('vit')},policy=every")
    stand_in = deployer.folder / "models" / "stand-ins" / "new"

    async def answering() -> ModelReplica | None:
        found = await model(client, "new")
        return next((one for one in found.replicas if one.state == ReplicaState.REPLICA_STATE_SERVING), None)

    wish: Wish = await client.deploy_model(asked)
    (server,) = await until(lambda: deployer.running("model_server"))
    (worker,) = deployer.running("model_server.building")
    worker.suspend()  # so that its graph isn't ready first
    meanwhile = await until(answering)
    assert meanwhile.runtime == Runtime.RUNTIME_TORCH
    assert (await model(client, "new")).status.phase == DeploymentPhase.DEPLOYMENT_PHASE_EXPORTING
    deployer.kill()
    deployer.start()
    (worker,) = await until(lambda: set(deployer.running("model_server.building")) - {worker})
    assert deployer.running("model_server") == [server]  # taken over
    worker.kill()
    found = await settled(client, wish, "FAILED", ready=1)
    assert "out of memory" in found.status.message
    (answer,) = (await client.analyze(jpeg(), models=["new"])).answers
    assert answer.model_version == meanwhile.model_version
    broken = shutil.copytree(source("vit"), tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"cut")
    found = await settled(client, await client.deploy_model(parse(f"new={broken}")), "FAILED")
    assert not found.replicas  # the one before is no version to go back to
    wish = await client.deploy_model(asked)
    found = await settled(client, wish, "READY", ready=1)
    assert [one.runtime for one in found.replicas] == [Runtime.RUNTIME_ONNX]
    assert not found.status.previous
    assert not stand_in.exists()
    await client.delete("new")
    await until(lambda: not deployer.running())


async def answered(deployer: Deployer) -> Counter[str]:
    """How many images each server has answered, by the address of its page."""
    counts: Counter[str] = Counter()
    _, pages = model_processes(deployer.folder)
    async with aiohttp.ClientSession() as session:
        for page in pages.values():
            async with session.get(f"http://{page}/metrics") as response:
                for line in (await response.text()).splitlines():
                    if line.startswith("framemesh_model_server_requests_total{") and 'outcome="succeeded"' in line:
                        counts[page] += int(float(line.rpartition(" ")[2]))
    return counts


async def command(address: str, *words: str) -> tuple[int | None, str, str]:
    """What a command ends with and says, on standard output and beside it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "framemesh", *words, "--address", address,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, told = await process.communicate()
    return process.returncode, out.decode(), told.decode()
