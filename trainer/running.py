"""A training from its order to a model in the lake, each part of which is found done where it was done before."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from framemesh.errors import ConfigurationError, InternalError
from framemesh.exits import KILLED, reported
from framemesh.specs import LAKE
from framemesh.trainings import DATASETS
from trainer import bases, card, reading
from trainer.bases import TRAINED
from trainer.card import Story
from trainer.checkpoints import Run
from trainer.keeping import Bucket
from trainer.orders import Order, run_id
from trainer.reading import Dataset
from trainer.settings import TrainerSettings
from trainer.telling import Tell

SCORES = "scores.json"
_SAMPLES = 48
"""Pictures of the validation split on which the exported model is compared with the trained one."""


def run(order: Order, settings: TrainerSettings, tell: Tell) -> dict[str, Any]:
    """Train what is ordered and put it into the lake; returns where it is, and its scores.

    Raises:
        InterruptedTrainingError: It was told to stop; the same order goes on.
        ConfigurationError: It can't be trained so; the message says why and what to do.
        ModelUnavailableError: The hub can't be reached now.
        LakeUnavailableError: The lake can't be reached now.
    """
    tell("reading", dataset=str(order.dataset))
    dataset = reading.read(order.dataset)
    tell(
        "dataset",
        task=dataset.task,
        classes=list(dataset.classes),
        pictures={split: len(examples) for split, examples in dataset.splits.items()},
        unreadable=sum(dataset.unreadable.values()),
    )
    base = bases.fetch(order.base, order.revision, settings, order.folder)
    choices = order.chosen(dataset.task)
    story = Story(
        order.name,
        run_id(base_version=base.version, dataset_digest=dataset.digest, choices=choices),
        base,
        dataset,
        choices,
    )
    here = order.folder / story.name / story.run
    tell("run", run=story.run, folder=str(here), metrics=str(here / "tensorboard"))
    trained = Bucket(settings, settings.s3_training_bucket)
    prefix = f"{story.name}/{story.run}"
    if "model" in trained.whole(prefix):
        trained.get(f"{prefix}/model", here / "model")
        tell("found", source=f"{TRAINED}{prefix}")
    else:
        _train(story, Run(trained, prefix, here), tell)
    url = f"{LAKE}{prefix}"
    if not Bucket(settings, settings.s3_models_bucket).has(f"{prefix}/manifest.json"):
        samples = _samples(dataset, here / "samples")
        _prepare(here / "model", url, samples=samples, cache=order.folder / "prepared", tell=tell)
    scores = json.loads((here / "model" / SCORES).read_text())
    return {"source": url, "weights": f"{TRAINED}{prefix}", "scores": scores}


def fetch_dataset(source: str, settings: TrainerSettings, folder: Path) -> Path:
    """The folder of a dataset, be it one of the lake.

    Raises:
        ConfigurationError: There is none there.
        LakeUnavailableError: The lake can't be reached now.
    """
    if not source.startswith(DATASETS):
        return Path(source)
    key = source.removeprefix(DATASETS).strip("/")
    if key.count("/") != 1:
        raise ConfigurationError(f"{source!r} names no dataset: write {DATASETS}NAME/VERSION")
    place = folder / "datasets" / key
    bucket = Bucket(settings, settings.s3_datasets_bucket)
    if not bucket.has(f"{key}/{reading.RECIPE}"):
        raise ConfigurationError(f"there is no dataset {source}: make one with `framemesh dataset export`")
    if not (place / reading.RECIPE).is_file():
        unfinished = place.with_name(f".{place.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        bucket.copy(key, unfinished)
        shutil.rmtree(place, ignore_errors=True)
        unfinished.rename(place)
    return place


def _train(story: Story, run: Run, tell: Tell) -> None:
    """Fill the run's folder of the model, and put it into the lake."""
    from transformers import set_seed  # noqa: PLC0415 - a run that is done needs no torch

    from trainer import learning, tasks  # noqa: PLC0415

    set_seed(story.choices.seed)
    task = tasks.open_task(story.base.folder, story.dataset)
    learnt = learning.learn(task, story.dataset, story.choices, run, tell)
    model = run.folder / "model"
    shutil.rmtree(model, ignore_errors=True)
    task.model.save_pretrained(model)
    task.processor.save_pretrained(model)
    (model / "README.md").write_text(card.written(story, learnt))
    (model / SCORES).write_text(json.dumps(asdict(learnt.scores), indent=2))
    tell("uploading", share=0.0)
    run.bucket.put(f"{run.prefix}/model", model)
    run.forget()


def _samples(dataset: Dataset, folder: Path) -> Path:
    """A folder of some pictures of the validation split."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    seen = dataset.splits["validation"]
    for example in seen[:: -(-len(seen) // _SAMPLES)]:
        (folder / example.path.name).symlink_to(example.path.resolve())
    return folder


def _prepare(model: Path, url: str, *, samples: Path, cache: Path, tell: Tell) -> None:
    """Have the trained model prepared for serving, and put into the lake, by the program that prepares all models.

    Raises:
        ConfigurationError: It can't be served.
        ModelUnavailableError: The lake can't be reached now.
    """
    argv = (
        sys.executable, "-m", "model_server.building",
        "--cache", str(cache), "--samples", str(samples), "--upload", url, "--", str(model),
    )  # fmt: skip
    said: dict[str, Any] = {}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=os.environ, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe, as it was started
        for line in process.stdout:
            said = json.loads(line)
            if "step" in said:
                tell(**said)
    code = process.returncode
    if code != 0:
        raise reported(code, said.get("error", "")) or InternalError(
            f"preparing the trained model ended with {code}: the log says why, or it lacked memory ({KILLED})"
        )
