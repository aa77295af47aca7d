"""The steps that all backends share, with one whose every step a test decides, and how often they are taken."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from deployer import reconciling
from deployer.ledger import Ledger
from deployer.metrics import DeployerMetrics
from deployer.reconciling import Parts, Reconciler, Tell
from framemesh import specs
from framemesh.bus import Bus, encoding
from framemesh.bus.streams import DEPLOYMENTS_BUCKET, MODELS_BUCKET
from framemesh.errors import ConfigurationError, FramemeshError, ModelUnavailableError
from framemesh.service import running
from framemesh.settings import ModelStoreSettings
from framemesh.specs import parse
from framemesh.v1.model_pb2 import DeploymentPhase, DeploymentStatus, ModelSpec, Release
from tests.deployer.conftest import keys, until


@dataclass
class Scripted:
    """A backend that remembers what it was told, and fails as the test wants it to."""

    there: dict[str, str] = field(default_factory=dict)
    """Which source is served, by model."""
    done: list[str] = field(default_factory=list)
    unpreparable: dict[str, FramemeshError] = field(default_factory=dict)
    unready: dict[str, FramemeshError] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def owned(self) -> set[str]:
        return set(self.there)

    async def prepare(self, spec: ModelSpec, tell: Tell) -> Release:
        self.done.append(f"prepare {spec.source}")
        tell(DeploymentPhase.DEPLOYMENT_PHASE_DOWNLOADING, 0.5, "")
        await self.gate.wait()
        if spec.source in self.unpreparable:
            raise self.unpreparable[spec.source]
        return Release(spec=spec, source=f"lake://models/{spec.name}/{spec.source}", model_version=spec.source)

    async def roll_out(self, release: Release, replicas: int, tell: Tell) -> None:
        self.done.append(f"roll out {release.model_version} to {replicas}")
        if release.model_version in self.unready:
            raise self.unready[release.model_version]
        self.there[release.spec.name] = release.model_version

    async def answers(self, model: str) -> bool:
        return model in self.there

    async def remove(self, model: str) -> None:
        self.done.append(f"remove {model}")
        self.there.pop(model, None)


@pytest.fixture
def backend() -> Scripted:
    scripted = Scripted()
    scripted.gate.set()
    return scripted


@asynccontextmanager
async def reconciling_with(bus: Bus, backend: Scripted) -> AsyncIterator[CollectorRegistry]:
    ledger = Ledger(bus, DEPLOYMENTS_BUCKET, DeploymentStatus)
    await ledger.open()
    registry = CollectorRegistry()
    parts = Parts(backend, ledger, ModelStoreSettings(), DeployerMetrics(registry))
    async with running(ledger, Reconciler(bus, parts), drain_seconds=10):
        yield registry


@pytest.fixture
async def reconciler(bus: Bus, backend: Scripted) -> AsyncIterator[CollectorRegistry]:
    async with reconciling_with(bus, backend) as registry:
        yield registry
        for name in await _names(bus):
            await (await bus.js.key_value(MODELS_BUCKET)).delete(name)
        await until(lambda: _nothing_is_told(bus))


async def test_what_has_to_be_mended_is_told_and_tried_again_only_when_it_is_deployed_anew(
    reconciler: CollectorRegistry, bus: Bus, backend: Scripted
) -> None:
    backend.unpreparable["owner/gone"] = ConfigurationError("no such model")
    generation = await wish(bus, "m=owner/gone")
    status = await told(bus, "m", "FAILED", generation)
    assert (status.message, status.HasField("serving")) == ("no such model", False)
    assert backend.done == ["prepare owner/gone", "remove m"]
    del backend.unpreparable["owner/gone"]  # somebody has mended it
    generation = await wish(bus, "m=owner/gone")
    status = await told(bus, "m", "READY", generation)
    assert status.serving.model_version == "owner/gone"


async def test_what_may_mend_itself_is_tried_again(
    reconciler: CollectorRegistry, bus: Bus, backend: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "_AGAIN_SECONDS", (0.05, 0.1))
    backend.unpreparable["owner/away"] = ModelUnavailableError("the hub is away")
    generation = await wish(bus, "m=owner/away")
    status = await told(bus, "m", "PENDING", generation)
    await until(lambda: backend.done.count("prepare owner/away") > 3)
    assert (await told(bus, "m", "PENDING", generation)).message in {"the hub is away", ""}
    backend.unpreparable.clear()
    status = await told(bus, "m", "READY", generation)
    assert status.message == ""


async def test_the_metrics_say_which_models_are_not_as_they_are_wanted(
    reconciler: CollectorRegistry, bus: Bus, backend: Scripted
) -> None:
    def failing(model: str) -> float | None:
        return reconciler.get_sample_value("framemesh_deployer_model_failing", {"model": model})

    backend.unpreparable["owner/gone"] = ConfigurationError("no such model")
    await told(bus, "m", "FAILED", await wish(bus, "m=owner/gone"))
    assert failing("m") == 1
    del backend.unpreparable["owner/gone"]
    await told(bus, "m", "READY", await wish(bus, "m=owner/gone"))
    await until(lambda: failing("m") == 0)
    await (await bus.js.key_value(MODELS_BUCKET)).delete("m")
    await until(lambda: failing("m") is None)


async def test_a_version_that_does_not_become_ready_is_rolled_back(
    reconciler: CollectorRegistry, bus: Bus, backend: Scripted
) -> None:
    await told(bus, "m", "READY", await wish(bus, "m=good,replicas=2"))
    backend.unready["bad"] = ConfigurationError("out of memory")
    status = await told(bus, "m", "ROLLED_BACK", await wish(bus, "m=bad,replicas=3"))
    assert (status.message, status.serving.model_version, status.next.model_version) == (
        "out of memory", "good", "bad",
    )  # fmt: skip
    assert backend.done[-2:] == ["roll out bad to 3", "roll out good to 3"]
    await told(bus, "m", "READY", await wish(bus, "m=good,replicas=1"))
    assert backend.done.count("prepare good") == 1


async def test_the_versions_that_served_before_are_told_whatever_came_between(
    reconciler: None, bus: Bus, backend: Scripted
) -> None:
    await told(bus, "m", "READY", await wish(bus, "m=one"))
    await told(bus, "m", "READY", await wish(bus, "m=one,replicas=2"))
    await told(bus, "m", "READY", await wish(bus, "m=two"))
    backend.unready["bad"] = ConfigurationError("out of memory")
    await told(bus, "m", "ROLLED_BACK", await wish(bus, "m=bad"))
    status = await told(bus, "m", "READY", await wish(bus, "m=three"))
    assert [release.model_version for release in (status.serving, *status.previous)] == ["three", "two", "one"]


async def test_a_first_version_of_which_some_servers_answer_is_left_and_one_that_can_not_be_prepared_leaves_it(
    bus: Bus, backend: Scripted
) -> None:
    backend.there["m"] = "some"
    backend.unready["some"] = ConfigurationError("no room for the third")
    backend.unpreparable["none"] = ConfigurationError("no such model")
    generation = await wish(bus, "m=some,replicas=3")
    async with reconciling_with(bus, backend):
        status = await told(bus, "m", "FAILED", generation)
        assert (status.message, status.HasField("serving")) == ("no room for the third", False)
        await told(bus, "m", "FAILED", await wish(bus, "m=none,replicas=3"))
        assert backend.done == ["prepare some", "roll out some to 3", "prepare none"]
        await (await bus.js.key_value(MODELS_BUCKET)).delete("m")
        await until(lambda: _nothing_is_told(bus))
    assert backend.there == {}


async def test_scaling_while_a_model_is_prepared_does_not_begin_anew_and_another_source_does(
    reconciler: CollectorRegistry, bus: Bus, backend: Scripted
) -> None:
    backend.gate.clear()
    await told(bus, "m", "DOWNLOADING", await wish(bus, "m=a/b"))
    await wish(bus, "m=a/b,replicas=3")
    await wish(bus, "other=c/d")  # of what is wanted, each later change is heard later
    await until(lambda: "prepare c/d" in backend.done)
    assert backend.done == ["prepare a/b", "prepare c/d"]
    generation = await wish(bus, "m=e/f,replicas=2")
    await until(lambda: "prepare e/f" in backend.done)
    backend.gate.set()
    await told(bus, "m", "READY", generation)
    assert [done for done in backend.done if done.startswith("roll out e/f")] == ["roll out e/f to 2"]
    assert not [done for done in backend.done if done.startswith("roll out a/b")]


async def test_a_deployer_goes_on_where_another_left_off(bus: Bus, backend: Scripted) -> None:
    backend.there |= {"m": "old", "stranger": "x"}
    spec = parse("m=a/b")
    release = Release(spec=spec, source="lake://models/m/v", model_version="v")
    statuses = await bus.js.key_value(DEPLOYMENTS_BUCKET)
    left = DeploymentStatus(phase=DeploymentPhase.DEPLOYMENT_PHASE_ROLLING_OUT, next=release)
    await statuses.put("m", encoding.dump(left))
    await statuses.put("gone", encoding.dump(left))
    generation = await wish(bus, "m=a/b")
    async with reconciling_with(bus, backend):
        await told(bus, "m", "READY", generation)
        await until(lambda: "stranger" not in backend.there)
        assert not [done for done in backend.done if done.startswith("prepare")]
        await (await bus.js.key_value(MODELS_BUCKET)).delete("m")
        await until(lambda: _nothing_is_told(bus))
    assert backend.there == {}


async def test_what_served_before_serves_until_what_is_wanted_now_is_there(bus: Bus, backend: Scripted) -> None:
    """After the machine's restart nothing is there, and the version that is wanted can't be had."""
    serving = Release(spec=parse("m=old"), source="lake://models/m/old", model_version="old")
    statuses = await bus.js.key_value(DEPLOYMENTS_BUCKET)
    await statuses.put("m", encoding.dump(DeploymentStatus(serving=serving)))
    backend.unpreparable["new"] = ConfigurationError("no such model")
    generation = await wish(bus, "m=new")
    async with reconciling_with(bus, backend):
        await told(bus, "m", "ROLLED_BACK", generation)
        assert backend.done[:2] == ["roll out old to 1", "prepare new"]
        assert backend.there == {"m": "old"}
        await (await bus.js.key_value(MODELS_BUCKET)).delete("m")
        await until(lambda: _nothing_is_told(bus))


async def wish(bus: Bus, text: str) -> int:
    """Want a model; returns the wish's generation."""
    spec = parse(text)
    return await (await bus.js.key_value(MODELS_BUCKET)).put(spec.name, specs.dump(spec))


async def told(bus: Bus, name: str, phase: str, generation: int) -> DeploymentStatus:
    """The status of a model, once it is in this phase of this wish."""
    content = await bus.js.key_value(DEPLOYMENTS_BUCKET)

    async def look() -> DeploymentStatus | None:
        if name not in await keys(bus, DEPLOYMENTS_BUCKET):
            return None
        status = encoding.load((await content.get(name)).value or b"", DeploymentStatus())
        wanted = DeploymentPhase.Value(f"DEPLOYMENT_PHASE_{phase}")
        return status if status and (status.phase, status.generation) == (wanted, generation) else None

    found: DeploymentStatus = await until(look)
    return found


async def _names(bus: Bus) -> list[str]:
    return await keys(bus, MODELS_BUCKET)


async def _nothing_is_told(bus: Bus) -> bool:
    return not await keys(bus, DEPLOYMENTS_BUCKET)
