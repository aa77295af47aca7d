"""The whole story in the cluster that KUBECONFIG points at: overlay `local`, a model deployed, scaled, replaced, gone.

The images must be there (`make images`, then `kind load docker-image`). `FRAMEMESH_E2E_MODELS` names two models, with a
comma between them, that the cluster may fetch from the hub.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from framemesh.client import AsyncClient
from framemesh.errors import FramemeshError
from framemesh.mesh.servers import HOST, free_port
from framemesh.specs import parse
from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from framemesh.v1.model_pb2 import DeploymentStatus
from tests.pictures import jpeg

NAMESPACE = "framemesh"
FIRST, SECOND = os.environ.get("FRAMEMESH_E2E_MODELS", "google/vit-base-patch16-224,microsoft/resnet-50").split(",")
ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="KUBECONFIG names no cluster to try it in"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl"),
    pytest.mark.timeout(3600),
]


async def kubectl(*arguments: str, given: str = "") -> str:
    """What kubectl prints; fails with what it says."""
    process = await asyncio.create_subprocess_exec(
        "kubectl", *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, told = await process.communicate(given.encode())
    assert process.returncode == 0, f"kubectl {' '.join(arguments)}: {told.decode()}"
    return printed.decode()


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[AsyncClient]:
    """A client of a mesh of the tests' own, which is gone afterwards with its namespace."""
    if await kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name"):
        pytest.skip(f"the cluster has a namespace {NAMESPACE} already, and that is not touched")
    await kubectl("create", "namespace", NAMESPACE)
    try:
        secrets = await asyncio.create_subprocess_exec(
            sys.executable, str(ROOT / "k8s" / "make_secrets.py"), stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await secrets.communicate()
        await kubectl("create", "-f", "-", given=printed.decode())
        await kubectl("apply", "-k", str(ROOT / "k8s" / "overlays" / "local"))
        await kubectl("-n", NAMESPACE, "wait", "--for=condition=Available", "deployment", "--all", "--timeout=10m")
        async with forwarded("service/gateway", 50051) as address, AsyncClient(address) as client:
            yield client
    finally:
        await kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=10m")


@asynccontextmanager
async def forwarded(what: str, port: int) -> AsyncIterator[str]:
    """A port of the cluster on this machine, as `host:port`."""
    here = free_port()
    process = await asyncio.create_subprocess_exec(
        "kubectl", "-n", NAMESPACE, "port-forward", what, f"{here}:{port}", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert b"Forwarding" in await process.stdout.readline()
        yield f"{HOST}:{here}"
    finally:
        process.terminate()
        await process.wait()


async def becomes(client: AsyncClient, text: str) -> DeploymentStatus:
    """Deploy a model, and wait until it is ready or has failed."""
    wish = await client.deploy_model(parse(text))
    async for model in client.progress(wish.spec.name, wish.generation):
        status = model.status
    return status


async def test_a_model_is_deployed_scaled_replaced_and_deleted_and_no_call_fails(client: AsyncClient) -> None:
    ready = await becomes(client, f"story={FIRST}")
    assert ready.phase == Phase.DEPLOYMENT_PHASE_READY, ready.message

    errors: list[str] = []
    answered = 0

    async def ask() -> None:
        nonlocal answered
        while True:
            try:
                result = await client.analyze(jpeg(), models=["story"])
                answered += not result.answers[0].HasField("error")
                errors.extend(answer.error.message for answer in result.answers if answer.HasField("error"))
            except FramemeshError as error:
                errors.append(str(error))

    asking = [asyncio.create_task(ask()) for _ in range(4)]
    try:
        for text in (f"story={FIRST},replicas=3", f"story={FIRST}", f"story={SECOND}"):
            status = await becomes(client, text)
            assert status.phase == Phase.DEPLOYMENT_PHASE_READY, status.message
            assert status.serving.spec.source == parse(text).source
        refused = await becomes(client, "story=framemesh/there-is-no-such-model")
        assert refused.phase == Phase.DEPLOYMENT_PHASE_ROLLED_BACK
        assert "there-is-no-such-model" in refused.message
        assert refused.serving.spec.source == SECOND
    finally:
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
    assert errors == []
    assert answered > 0

    await client.delete("story")
    kinds = "deployments,jobs,services,poddisruptionbudgets,horizontalpodautoscalers,pods"
    async with asyncio.timeout(300):
        while await kubectl(
            "-n", NAMESPACE, "get", kinds, "-l", "app.kubernetes.io/managed-by=framemesh-deployer", "-o", "name"
        ):
            await asyncio.sleep(1)
