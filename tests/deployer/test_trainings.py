"""Trainings that the mesh runs on one machine, asked for and followed at the gateway, whatever happens on the way."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from framemesh.client import AsyncClient
from framemesh.errors import (
    DatasetNotFoundError,
    InvalidNameError,
    InvalidRequestError,
    TrainingNotFoundError,
    TrainingRunsError,
)
from framemesh.trainings import ended
from framemesh.v1.training_pb2 import Training, TrainingPhase, TrainingSpec
from framemesh.v1.training_service_pb2 import StopTrainingResponse
from tests.deployer.conftest import Deployer, deploying
from tests.gateway.conftest import until as until_true
from tests.model_server.tiny import make
from tests.trainer.signs import dataset
from trainer.keeping import Bucket
from trainer.settings import TrainerSettings

DATASET = "lake://datasets/signs/1"
PATIENCE_SECONDS = 300.0
"""Trainers get only what is left of a machine: beside other tests, a tenth of it."""

until = partial(until_true, seconds=PATIENCE_SECONDS)


@pytest.fixture(scope="module")
async def deployer(
    client: AsyncClient, nats: str, s3: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployer]:
    folder = tmp_path_factory.mktemp("deployer")
    async with deploying(folder, {"FRAMEMESH_NATS_URL": nats, **s3}) as deployer:
        yield deployer


@pytest.fixture(scope="module")
def store(s3: dict[str, str]) -> TrainerSettings:
    keys = ("s3_endpoint", "s3_access_key", "s3_secret_key")
    return TrainerSettings.model_validate({key: s3[f"FRAMEMESH_{key.upper()}"] for key in keys})


@pytest.fixture(scope="module")
async def spec(store: TrainerSettings, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingSpec:
    """A training of four short epochs, on a dataset of the lake: long enough to be met in the midst of them."""
    folder = tmp_path_factory.mktemp("data")
    counts = {"train": 12, "validation": 2, "test": 2}

    def made() -> Path:
        data = dataset(folder / "signs", photos, counts, classes=("no-entry", "parking"))
        bucket = Bucket(store, "datasets")
        for path in sorted(data.rglob("*.*"), key=lambda path: path.name == "recipe.json"):
            bucket.add(f"signs/1/{path.relative_to(data)}", path)
        return make("vit", folder / "vit")

    base = await asyncio.to_thread(made)
    return TrainingSpec(name="signs", dataset=DATASET, base=str(base), epochs=4, batch_size=4)


async def test_what_no_training_can_be_is_refused_with_what_to_do(client: AsyncClient, spec: TrainingSpec) -> None:
    for error, words, changed in (
        (InvalidNameError, "can't name a model", {"name": "Signs"}),
        (InvalidRequestError, "export it with `framemesh dataset export", {"dataset": "./signs"}),
        (DatasetNotFoundError, "there is no dataset lake://datasets/signs/2", {"dataset": "lake://datasets/signs/2"}),
        (InvalidRequestError, "starts from a base", {"base": ""}),
        (InvalidRequestError, "epochs can't be 0: use 1 to 10,000", {"epochs": 0}),
        (InvalidRequestError, "learning_rate can't be nan", {"learning_rate": float("nan")}),
    ):
        with pytest.raises(error, match=re.escape(words)):
            await client.start_training(with_(spec, **changed))
    with pytest.raises(TrainingNotFoundError, match="no training 'signs'; there are: none"):
        await client.stop_training("signs")
    assert await client.trainings() == []


@pytest.mark.timeout(4 * PATIENCE_SECONDS)
async def test_killed_deployers_and_stops_lose_nothing_of_a_training_which_ends_as_a_model_in_the_lake(
    deployer: Deployer, address: str, client: AsyncClient, store: TrainerSettings, spec: TrainingSpec
) -> None:
    wish = await client.start_training(spec)
    assert wish.spec.origin.reason == "started"
    assert await client.start_training(spec) == wish  # a call that is made again changes nothing
    await until(lambda: "epoch" in said(deployer))
    (process,) = deployer.running("trainer")
    process.suspend()
    assert process.nice() > psutil.Process().nice()  # serving comes first
    with pytest.raises(TrainingRunsError, match="stop it with `framemesh trainings stop signs`, or choose another"):
        await client.start_training(with_(spec, epochs=5))
    await client.start_training(with_(spec, name="others"))
    await until(lambda: _says(client, "others", "waits for signs, as one trains at a time"))
    await client.delete_training("others")
    await until(lambda: _has_learnt(client))
    (status,) = [training.status for training in await client.trainings() if training.spec.name == "signs"]
    assert (status.phase, status.epoch_count) == (TrainingPhase.TRAINING_PHASE_TRAINING, 4)
    assert status.validation.keys() == {"loss", "accuracy", "mean_recall"}

    deployer.kill()
    deployer.start()
    await until(deployer.has_begun)
    assert deployer.running("trainer") == [process]  # it goes on
    stopped = await client.stop_training("signs")
    await reached(client, stopped.generation, "STOPPING")
    process.resume()
    await reached(client, stopped.generation, "STOPPED")
    assert not deployer.running("trainer")

    words = ("--dataset", DATASET, "--base", spec.base, "--name", "signs", "--epochs", "4", "--batch-size", "4")
    shown = await framemesh("train", "--mesh", *words, "--address", address)
    assert "resuming" in said(deployer)
    assert "accuracy on the test split: " in shown
    last = await found(client, "signs")
    assert last.status.phase == TrainingPhase.TRAINING_PHASE_SUCCEEDED
    result = last.status.result
    assert f"framemesh deploy {result.source} --shadow" in shown
    assert "succeeded" in await framemesh("trainings", "list", "--address", address)
    assert result.source == f"lake://models/signs/{last.status.run}"
    assert (result.scores.measure, result.scores.images) == ("accuracy", 4)
    assert [(each.name, each.count) for each in result.scores.classes] == [("no-entry", 2), ("parking", 2)]
    key = result.source.removeprefix("lake://models/")
    assert await asyncio.to_thread(Bucket(store, "models").has, f"{key}/manifest.json")
    assert await client.stop_training("signs") == StopTrainingResponse(spec=last.spec, generation=last.generation)


async def test_a_training_that_can_not_be_says_why_and_another_of_its_name_may_follow(
    deployer: Deployer, client: AsyncClient, spec: TrainingSpec
) -> None:
    wish = await client.start_training(with_(spec, name="lost", base="./nowhere"))
    failed = await reached(client, wish.generation, "FAILED", name="lost")
    assert "there is no model folder './nowhere'" in failed.status.message
    again = await client.start_training(with_(spec, name="lost", base="./elsewhere"))
    failed = await reached(client, again.generation, "FAILED", name="lost")
    assert "./elsewhere" in failed.status.message
    await client.delete_training("lost")
    await until(lambda: _is_gone(client, "lost"))


async def framemesh(*arguments: str) -> str:
    """What the command prints."""
    argv = (sys.executable, "-m", "framemesh", *arguments)
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(PATIENCE_SECONDS):
        printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()


def said(deployer: Deployer, name: str = "signs") -> set[str]:
    """The steps that a trainer has told."""
    path = deployer.folder / "logs" / f"train-{name}.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return {json.loads(line)["step"] for line in lines if line.endswith("\n")}


def with_(spec: TrainingSpec, **changed: Any) -> TrainingSpec:
    """The spec with other fields."""
    other = TrainingSpec()
    other.CopyFrom(spec)
    for field, value in changed.items():
        setattr(other, field, value)
    return other


async def found(client: AsyncClient, name: str) -> Training:
    return next((training for training in await client.trainings() if training.spec.name == name), Training())


async def reached(client: AsyncClient, generation: int, phase: str, *, name: str = "signs") -> Training:
    """The training, once a wish has come to this phase."""
    wanted = TrainingPhase.Value(f"TRAINING_PHASE_{phase}")

    async def look() -> Training | None:
        training = await found(client, name)
        assert training.status.phase == wanted or not ended(training, generation), training.status
        return training if (training.status.generation, training.status.phase) == (generation, wanted) else None

    training: Training = await until(look)
    return training


async def _has_learnt(client: AsyncClient) -> bool:
    return (await found(client, "signs")).status.epoch > 0


async def _says(client: AsyncClient, name: str, words: str) -> bool:
    return (await found(client, name)).status.message == words


async def _is_gone(client: AsyncClient, name: str) -> bool:
    return not (await found(client, name)).spec.name
