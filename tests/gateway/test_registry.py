import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from nats.js.kv import KeyValue
from prometheus_client import CollectorRegistry

from framemesh.bus import Bus, encoding, routes
from framemesh.bus.streams import DEPLOYMENTS_BUCKET, MODELS_BUCKET, ROUTES_BUCKET
from framemesh.errors import InvalidNameError, ModelChangedError, ModelExistsError, ModelNotFoundError
from framemesh.service import running
from framemesh.specs import parse
from framemesh.v1.model_pb2 import DeploymentPhase, DeploymentStatus, Model, ModelReplica, ReplicaState
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry
from tests.gateway.conftest import serving_model, until


@pytest.fixture
async def registry(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Registry]:
    monkeypatch.setattr(routes, "SILENT_SECONDS", 1.0)
    registry = Registry(bus, GatewayMetrics(CollectorRegistry()))
    async with running(registry, drain_seconds=5):
        yield registry


async def test_what_one_gateway_deploys_another_sees(registry: Registry, bus: Bus) -> None:
    other = Registry(bus, GatewayMetrics(CollectorRegistry()))
    async with running(other, drain_seconds=5):
        spec = (await registry.deploy(parse("shared=a/b,policy=every"))).spec
        await until(lambda: other.specs().get("shared") == spec)
        await other.delete("shared")
        await until(lambda: "shared" not in registry.specs())
        with pytest.raises(ModelNotFoundError, match="deployed: none"):
            registry.spec("shared")


async def test_a_server_that_falls_silent_is_taken_for_dead(registry: Registry, bus: Bus) -> None:
    bucket = await bus.js.key_value(ROUTES_BUCKET)
    entry = ModelReplica(
        model="mute", replica="0", grpc_address="127.0.0.1:1", state=ReplicaState.REPLICA_STATE_SERVING
    )
    await heard(registry, bucket, entry)  # its clock may be wrong: only ours counts
    await until(lambda: not registry.serving("mute"))


async def test_a_server_that_was_silent_is_noticed_when_it_speaks_again(registry: Registry, bus: Bus) -> None:
    bucket = await bus.js.key_value(ROUTES_BUCKET)
    entry = ModelReplica(model="shy", replica="0", grpc_address="127.0.0.1:1", state=ReplicaState.REPLICA_STATE_SERVING)
    await registry.deploy(parse("shy=x"))
    await heard(registry, bucket, entry)
    await until(lambda: not registry.serving("shy"))
    noticed = asyncio.ensure_future(_changes(registry, lambda: bool(registry.serving("shy"))))
    await bucket.put("shy.0", routes.dump(entry, Timestamp(seconds=2)))
    async with asyncio.timeout(60):
        await noticed  # whoever follows the changes is told
    await registry.delete("shy")


async def test_what_a_deployer_says_is_told_with_the_servers_counted(registry: Registry, bus: Bus) -> None:
    wanted = await registry.deploy(parse("told=a/b"))
    bucket = await bus.js.key_value(DEPLOYMENTS_BUCKET)
    status = DeploymentStatus(
        phase=DeploymentPhase.DEPLOYMENT_PHASE_ROLLED_BACK, message="why", generation=wanted.generation
    )
    await bucket.put("told", encoding.dump(status))
    await bucket.put("by-hand", b"nonsense")
    async with serving_model(bus, "told"):
        await until(lambda: [model.status.ready_replica_count for model in registry.models()] == [1])
        (model,) = registry.models()
        assert (model.status.phase, model.status.message) == (status.phase, "why")
        assert model.generation == model.status.generation == wanted.generation
    await bucket.delete("told")
    await until(lambda: not any(model.HasField("status") for model in registry.models()))
    await registry.delete("told")


async def test_scaling_right_after_deploying_undoes_nothing(registry: Registry) -> None:
    first = await registry.deploy(parse("quick=a/b"))
    second = await registry.deploy(parse("quick=c/d"))
    third = await registry.scale("quick", 3)  # before NATS has told us of the second
    assert (third.spec.source, third.spec.replicas) == ("c/d", 3)
    assert first.generation < second.generation < third.generation
    await registry.delete("quick")
    with pytest.raises(ModelNotFoundError, match="quick"):
        await registry.scale("quick", 1)


async def test_what_was_deployed_just_now_can_be_deleted(registry: Registry) -> None:
    await registry.deploy(parse("brief=a/b"))
    await registry.delete("brief")  # before NATS has told us of it
    with pytest.raises(ModelNotFoundError, match="deployed: none"):
        await registry.delete("brief")


async def test_what_can_name_no_model_is_refused_as_such(registry: Registry) -> None:
    for wish in (registry.scale("My Model", 1), registry.delete("My Model")):
        with pytest.raises(InvalidNameError, match="My Model"):
            await wish


@pytest.mark.parametrize("there_was_one", [False, True])
async def test_of_several_who_deploy_one_new_name_at_once_one_succeeds(
    registry: Registry, bus: Bus, *, there_was_one: bool
) -> None:
    if there_was_one:
        await registry.deploy(parse("fresh=a/b"))
        await registry.delete("fresh")
    other = Registry(bus, GatewayMetrics(CollectorRegistry()))
    wishes = [
        gateway.deploy(parse(f"fresh=a/{number}"), expected_generation=0)
        for number, gateway in enumerate((registry, other) * 4)
    ]
    ended = await asyncio.gather(*wishes, return_exceptions=True)
    (won,) = (each for each in ended if isinstance(each, Model))
    refusals = [each for each in ended if isinstance(each, ModelExistsError)]
    assert len(refusals) == len(ended) - 1
    assert {each.values["generation"] for each in refusals} == {str(won.generation)}
    await until(lambda: registry.specs().get("fresh") == won.spec)
    await registry.delete("fresh")


async def test_a_model_is_replaced_only_as_it_was_seen(registry: Registry) -> None:
    first = await registry.deploy(parse("seen=a/b"), expected_generation=0)
    second = await registry.deploy(parse("seen=c/d"), expected_generation=first.generation)
    with pytest.raises(ModelChangedError, match="look at it again") as refusal:
        await registry.deploy(parse("seen=e/f"), expected_generation=first.generation)
    assert refusal.value.values["generation"] == str(second.generation)
    await until(lambda: registry.specs().get("seen") == second.spec)
    await registry.delete("seen")
    with pytest.raises(ModelNotFoundError, match="deployed: none"):
        await registry.deploy(parse("seen=e/f"), expected_generation=second.generation)
    await registry.deploy(parse("seen=g/h"))  # whatever there is, as ever
    await registry.delete("seen")


async def heard(registry: Registry, bucket: KeyValue, entry: ModelReplica) -> None:
    """Have a server say that it is there until that is seen: it is taken for dead soon, and we may look too late."""

    async def seen() -> bool:
        await bucket.put(routes.route_key(entry), routes.dump(entry, Timestamp(seconds=1)))
        return bool(registry.serving(entry.model))

    await until(seen)


async def _changes(registry: Registry, until_true: Callable[[], bool]) -> None:
    async for _ in registry.changes():
        if until_true():
            return


async def test_only_servers_that_say_serving_are_asked(registry: Registry, bus: Bus) -> None:
    bucket = await bus.js.key_value(ROUTES_BUCKET)
    entry = ModelReplica(
        model="slow", replica="0", grpc_address="127.0.0.1:1", state=ReplicaState.REPLICA_STATE_LOADING
    )
    await bucket.put("slow.0", routes.dump(entry, Timestamp(seconds=2)))
    async with serving_model(bus, "slow", replica="1"):
        await until(lambda: registry.serving("slow"))
        assert [replica.replica for replica in registry.serving("slow")] == ["1"]


async def test_entries_written_by_hand_do_no_harm(registry: Registry, bus: Bus) -> None:
    models = await bus.js.key_value(MODELS_BUCKET)
    servers = await bus.js.key_value(ROUTES_BUCKET)
    for value in (b"", b"nonsense", b"\xff", b"[]", b'{"name": "Bad Name", "source": "x"}', b'{"name": "other"}'):
        await models.put("hand", value)
        await servers.put("hand.0", value)
    await registry.deploy(parse("sound=a/b"))
    await until(lambda: "sound" in registry.specs())
    assert "hand" not in registry.specs()
    await models.delete("hand")
    await registry.delete("sound")
