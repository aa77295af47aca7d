"""A deployer of a cluster in the test's own process, and what users see of it: wishes in NATS, statuses in NATS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import nats.js.errors

from deployer.app import deployer
from deployer.settings import DeployerSettings
from framemesh import specs
from framemesh.bus import Bus, encoding
from framemesh.bus.streams import DEPLOYMENTS_BUCKET, MODELS_BUCKET
from framemesh.bus.watching import snapshots
from framemesh.specs import parse
from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from framemesh.v1.model_pb2 import DeploymentStatus
from tests.deployer.kubernetes.apiserver import ApiServer
from tests.deployer.kubernetes.applying import Object


@asynccontextmanager
async def deploying(nats_url: str, **settings: object) -> AsyncIterator[None]:
    """A deployer around the block, of the cluster that KUBECONFIG names."""
    async with deployer(
        DeployerSettings.model_validate({"nats_url": nats_url, "deployer_backend": "kubernetes", **settings})
    ):
        yield


async def wish(bus: Bus, text: str) -> int:
    """Want a model, in the words of `framemesh deploy`; returns the wish's generation."""
    spec = parse(text)
    return await (await bus.js.key_value(MODELS_BUCKET)).put(spec.name, specs.dump(spec))


async def unwish(bus: Bus, model: str) -> None:
    """Want a model no more."""
    await (await bus.js.key_value(MODELS_BUCKET)).delete(model)


async def forget(bus: Bus) -> None:
    """Begin anew: nothing is wanted, and nothing is told."""
    for name in (MODELS_BUCKET, DEPLOYMENTS_BUCKET):
        bucket = await bus.js.key_value(name)
        async with aclosing(snapshots(bus, name)) as following:
            for key in await anext(following):
                await bucket.delete(key)


async def status(bus: Bus, model: str) -> DeploymentStatus | None:
    """What is told of a model."""
    try:
        entry = await (await bus.js.key_value(DEPLOYMENTS_BUCKET)).get(model)
    except nats.js.errors.KeyNotFoundError:
        return None
    return encoding.load(entry.value or b"", DeploymentStatus())


async def told(bus: Bus, model: str, phase: str, generation: int) -> DeploymentStatus:
    """Wait until this is told of a wish."""
    async with asyncio.timeout(60):
        while True:
            found = await status(bus, model)
            if found and found.generation >= generation and found.phase == Phase.Value(f"DEPLOYMENT_PHASE_{phase}"):
                return found
            await asyncio.sleep(0.03)


async def gone(api: ApiServer, bus: Bus, model: str) -> None:
    """Wait until nothing is there of a model, nor told of it."""
    async with asyncio.timeout(60):
        while objects(api) or api.store.all("pods") or await status(bus, model):
            await asyncio.sleep(0.03)


def objects(api: ApiServer) -> list[str]:
    """What is there but pods, as `kind name`."""
    return sorted(f"{found['kind']} {name}" for (plural, name), found in api.store.objects.items() if plural != "pods")


def sources(api: ApiServer) -> list[str]:
    """Where the pods that serve load from."""
    return sorted(_variables(pod)["FRAMEMESH_MODEL_SOURCE"] for pod in api.store.all("pods") if _serves(pod))


def _serves(pod: Object) -> bool:
    return bool(pod["metadata"]["labels"]["app.kubernetes.io/name"] == "model-server")


def _variables(pod: Object) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in pod["spec"]["containers"][0]["env"]}
