"""Trainings as Jobs of a cluster."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest

from framemesh.bus import Bus, encoding
from framemesh.bus.streams import TRAINING_PROGRESS_BUCKET, TRAININGS_BUCKET
from framemesh.bus.watching import snapshots
from framemesh.v1.training_pb2 import TrainingPhase, TrainingSpec, TrainingStatus
from tests.deployer.conftest import until
from tests.deployer.kubernetes.apiserver import ApiServer
from tests.deployer.kubernetes.applying import Object
from tests.deployer.kubernetes.controllers import Controllers, Run
from tests.deployer.kubernetes.deployers import deploying, forget, objects, unwish, wish
from tests.deployer.kubernetes.deployers import told as told_of_model

SPEC = TrainingSpec(name="vit", dataset="lake://datasets/signs/1", base="google/vit", epochs=5, revision="v2")
SCORES = {"measure": "accuracy", "overall": {"value": 0.9, "low": 0.8, "high": 1.0}, "images": 9, "classes": [
    {"name": "parking", "count": 9, "precision": None, "recall": 0.0, "average_precision": None}
]}  # fmt: skip
EPOCH = {"step": "epoch", "epoch": 2, "epochs": 5, "loss": 0.5, "validation": {"loss": 0.4, "accuracy": 0.75}}
DONE = {"step": "done", "source": "lake://models/vit/abc", "weights": "lake://training/vit/abc", "scores": SCORES}
LEARNS = tuple(json.dumps(said) for said in ({"step": "reading"}, {"step": "run", "run": "abc"}, EPOCH))


@pytest.fixture(autouse=True)
async def clean(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr("deployer.kubernetes.changes._LOOK_SECONDS", 0.05)
    await forget(bus)
    yield
    for name in (TRAININGS_BUCKET, TRAINING_PROGRESS_BUCKET):
        bucket = await bus.js.key_value(name)
        async with aclosing(snapshots(bus, name)) as following:
            for key in await anext(following):
                await bucket.delete(key)


async def test_a_training_is_a_job_of_its_own_that_outlives_deployers_and_the_model_of_its_name(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    controllers.trainings["vit"] = Run((*LEARNS, *LEARNS[-1:] * 10_000))
    async with deploying(nats):
        generation = await start(bus)
        status = await told(bus, generation, lambda status: status.epoch == 2)
        assert (status.phase, status.run, status.epoch_count) == (TrainingPhase.TRAINING_PHASE_TRAINING, "abc", 5)
        assert (status.loss, dict(status.validation)) == (0.5, {"loss": 0.4, "accuracy": 0.75})
        assert status.progress == pytest.approx(0.4)
    (job,) = api.store.all("jobs")
    assert job["spec"]["ttlSecondsAfterFinished"] == 86_400
    assert arguments(job)[:6] == ["--folder", "/cache", "--name", "vit", "--dataset", "lake://datasets/signs/1"]
    assert arguments(job)[6:] == ["--base=google/vit", "--epochs", "5", "--revision=v2"]

    async with deploying(nats):  # another
        await told_of_model(bus, "vit", "READY", await wish(bus, "vit=google/vit"))
        await unwish(bus, "vit")
        await until(lambda: objects(api) == [f"Job {job['metadata']['name']}"] and len(api.store.all("pods")) == 1)
        (pod,) = api.store.all("pods")
        controllers.trainings["vit"] = Run((*api.store.logs[pod["metadata"]["name"]], json.dumps(DONE)))
        status = await told(bus, generation, has_come_to("SUCCEEDED"))
        assert (status.result.source, status.result.weights) == (DONE["source"], DONE["weights"])
        assert (status.result.scores.overall.low, status.result.scores.classes[0].name) == (0.8, "parking")
        assert not status.result.scores.classes[0].HasField("precision")
        (same,) = api.store.all("jobs")
        assert same["metadata"]["uid"] == job["metadata"]["uid"]

        await (await bus.js.key_value(TRAININGS_BUCKET)).delete("vit")
        await until(lambda: not api.store.objects)


async def test_a_stopped_training_has_no_job_and_its_name_is_free_for_the_same_again(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    controllers.trainings["vit"] = Run((*LEARNS, *LEARNS[-1:] * 10_000))
    async with deploying(nats):
        await told(bus, await start(bus), lambda status: status.epoch == 2)
        status = await told(bus, await start(bus, stopped=True), has_come_to("STOPPED"))
        assert (status.epoch, api.store.all("jobs"), api.store.all("pods")) == (2, [], [])
        controllers.trainings["vit"] = Run((json.dumps(DONE),))
        await told(bus, await start(bus), has_come_to("SUCCEEDED"))


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (Run(LEARNS, 137, "OOMKilled"), "out of memory: it may have 16Gi"),
        (Run((*LEARNS, json.dumps({"step": "failed", "error": "a single class"})), 78), "a single class"),
        (
            Run((json.dumps({"step": "failed", "error": "the lake is away"}),), 75),
            "given up after 20 more tries: the",
        ),
    ],
    ids=["out of memory", "can't be", "tried in vain"],
)
async def test_a_training_that_fails_says_why_and_may_be_started_anew(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str, run: Run, reason: str
) -> None:
    controllers.trainings["vit"] = run
    async with deploying(nats):
        status = await told(bus, await start(bus), has_come_to("FAILED"))
        assert status.message.startswith(reason)
        controllers.trainings["vit"] = Run((json.dumps(DONE),))
        await told(bus, await start(bus), has_come_to("SUCCEEDED"))


@pytest.mark.parametrize(
    ("stuck", "message"),
    [
        ("no image", "image framemesh-trainer:0.1.0 can't be pulled: manifest unknown"),
        ("0/3 nodes are available: 3 Insufficient cpu", "unschedulable: 0/3 nodes are available"),
    ],
)
async def test_what_a_training_waits_for_is_told(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str, stuck: str, message: str
) -> None:
    controllers.trainings["vit"] = Run(stuck=stuck)
    async with deploying(nats):
        await told(bus, await start(bus), lambda status: message in status.message)


async def test_a_base_that_no_pod_can_read_is_refused(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    async with deploying(nats):
        status = await told(bus, await start(bus, base="./vit"), has_come_to("FAILED"))
        assert "no pod can read the base './vit'" in status.message
        assert not api.store.objects


async def start(bus: Bus, *, base: str = "google/vit", stopped: bool = False) -> int:
    """Want the training, or want it to stop; returns the wish's generation."""
    spec = TrainingSpec()
    spec.CopyFrom(SPEC)
    spec.base, spec.stopped = base, stopped
    return await (await bus.js.key_value(TRAININGS_BUCKET)).put(spec.name, encoding.dump(spec))


def has_come_to(phase: str) -> Callable[[TrainingStatus], bool]:
    return lambda status: status.phase == TrainingPhase.Value(f"TRAINING_PHASE_{phase}")


async def told(bus: Bus, generation: int, wanted: Callable[[TrainingStatus], bool]) -> TrainingStatus:
    """Wait until such a status is told of a wish."""

    async def look() -> TrainingStatus | None:
        async with aclosing(snapshots(bus, TRAINING_PROGRESS_BUCKET)) as following:
            content = await anext(following)
        status = encoding.load(content.get("vit", b"{}"), TrainingStatus())
        return status if status is not None and status.generation == generation and wanted(status) else None

    status: TrainingStatus = await until(look)
    return status


def arguments(job: Object) -> list[str]:
    found: list[str] = job["spec"]["template"]["spec"]["containers"][0]["args"]
    return found
