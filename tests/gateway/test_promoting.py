"""Versions of a model: one is taken over from a shadow, and one that served before comes back."""

from typing import Any

import pytest

from framemesh.bus import Bus, encoding
from framemesh.bus.streams import DEPLOYMENTS_BUCKET
from framemesh.client import AsyncClient
from framemesh.errors import InvalidRequestError, ModelNotFoundError, ModelUnavailableError
from framemesh.specs import parse, policy_text
from framemesh.v1.model_pb2 import DeploymentStatus, ModelSpec, Release, Runtime
from tests.gateway.conftest import until


async def deploy(client: AsyncClient, spec: ModelSpec) -> ModelSpec:
    """Deploy a model, and wait until the gateway has heard of it."""
    wish = await client.deploy_model(spec)

    async def heard() -> bool:
        return any(
            model.generation >= wish.generation for model in await client.models() if model.spec.name == spec.name
        )

    await until(heard, seconds=60)
    return wish.spec


async def told(bus: Bus, client: AsyncClient, name: str, *sources: str, **fields: Any) -> None:
    """Say what serves, and what did before, as a deployer does."""
    releases = [
        Release(
            spec=parse(f"{name}={source}"), source=f"lake://models/{name}/{source[-1]}", runtime=Runtime.RUNTIME_ONNX
        )
        for source in sources
    ]
    status = DeploymentStatus(serving=releases[0], previous=releases[1:], **fields)
    await (await bus.js.key_value(DEPLOYMENTS_BUCKET)).put(name, encoding.dump(status))

    async def heard() -> bool:
        return any(model.status.serving == releases[0] for model in await client.models() if model.spec.name == name)

    await until(heard, seconds=60)


async def test_a_promoted_version_is_the_shadows_in_the_models_own_place(client: AsyncClient, bus: Bus) -> None:
    await deploy(client, parse("vit=a/old,policy=fps=3,replicas=2,camera=gate"))
    await deploy(client, parse("next=a/new,shadow=true"))
    await told(bus, client, "next", "a/new")
    wish = await client.promote("next", "vit", reason="agreement 0.97")
    spec = wish.spec
    assert (spec.name, spec.source, spec.shadow) == ("vit", "lake://models/next/w", False)
    assert (spec.replicas, list(spec.cameras), policy_text(spec.policy)) == (2, ["gate"], "fps=3")
    assert spec.origin.reason == "promoted from next: agreement 0.97"
    assert spec.origin.HasField("time")
    again = await client.promote("next", "vit")
    assert (again.spec.source, again.generation > wish.generation) == (spec.source, True)
    await client.delete("vit")
    await client.delete("next")


async def test_what_is_no_shadow_or_does_not_serve_is_not_promoted(client: AsyncClient, bus: Bus) -> None:
    await deploy(client, parse("vit=a/old"))
    await deploy(client, parse("next=a/new,shadow=true"))
    with pytest.raises(InvalidRequestError, match="'vit' is no shadow"):
        await client.promote("vit", "vit")
    with pytest.raises(InvalidRequestError, match="'next' is a shadow itself"):
        await client.promote("next", "next")
    with pytest.raises(ModelNotFoundError, match="no model 'gone'; deployed: next, vit"):
        await client.promote("next", "gone")
    await told(bus, client, "next", "a/older")  # what is wanted now is on its way
    with pytest.raises(ModelUnavailableError, match="'next' does not serve yet"):
        await client.promote("next", "vit")
    await client.delete("vit")
    await client.delete("next")


async def test_a_rollback_goes_to_the_version_that_served_before_and_back_again(client: AsyncClient, bus: Bus) -> None:
    await deploy(client, parse("vit=a/c,replicas=3"))
    with pytest.raises(InvalidRequestError, match="no other version of 'vit' has served"):
        await client.roll_back("vit")
    await told(bus, client, "vit", "a/c", "a/b", "a/a")
    wish = (await client.roll_back("vit")).spec
    assert (wish.source, wish.replicas, wish.origin.reason) == ("lake://models/vit/b", 3, "rolled back")
    # Until it serves, the one that served last is the one before.
    assert (await client.roll_back("vit")).spec.source == "lake://models/vit/c"
    await client.delete("vit")


async def test_a_version_that_never_became_ready_is_rolled_back_to_what_serves(client: AsyncClient, bus: Bus) -> None:
    await deploy(client, parse("detr=a/broken"))
    await told(bus, client, "detr", "a/b", "a/a")
    assert (await client.roll_back("detr")).spec.source == "lake://models/detr/b"
    await client.delete("detr")


async def test_who_deploys_cannot_say_that_it_was_somebody_else(client: AsyncClient) -> None:
    spec = parse("vit=a/b")
    spec.origin.caller, spec.origin.reason = "the boss", "because"
    done = await deploy(client, spec)
    assert (done.origin.caller, done.origin.reason) == ("", "deployed")
    await client.delete("vit")
