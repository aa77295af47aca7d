"""Trainings from an exported dataset to a model in the lake, whatever happens on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from framemesh.errors import ConfigurationError
from tests.model_server.tiny import make
from tests.trainer.signs import dataset
from trainer import bases, reading
from trainer.checkpoints import Run
from trainer.keeping import Bucket
from trainer.orders import CLASSIFICATION, Order
from trainer.running import run
from trainer.settings import TrainerSettings
from trainer.stopping import InterruptedTrainingError

# The Trainer's libraries warn of each other.
pytestmark = pytest.mark.filterwarnings("ignore")


class Told:
    """What a training tells; at the end of an epoch it may get a signal."""

    def __init__(self, *, stop_after_epoch: int = 0) -> None:
        self.said: list[dict[str, Any]] = []
        self._stop_after_epoch = stop_after_epoch

    def __call__(self, step: str, **facts: Any) -> None:
        self.said.append({"step": step, **facts})
        if step == "epoch" and facts["epoch"] == self._stop_after_epoch:
            os.kill(os.getpid(), signal.SIGINT)

    def of(self, step: str) -> list[dict[str, Any]]:
        return [each for each in self.said if each["step"] == step]


def test_killed_and_stopped_in_mid_training_it_goes_on_from_the_lake_on_any_machine(
    settings: TrainerSettings, signs: Path, vit: Path, tmp_path: Path
) -> None:
    words = ("--dataset", str(signs), "--base", str(vit), "--name", "signs", "--epochs", "6", "--batch-size", "4")
    argv = (sys.executable, "-m", "trainer", "--folder", str(tmp_path / "one"), *words)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            if said["step"] == "epoch" and said["epoch"] == 3:
                process.kill()
    assert process.returncode == -signal.SIGKILL

    choices = {"epochs": 6, "batch_size": 4}
    told = Told(stop_after_epoch=4)
    with pytest.raises(InterruptedTrainingError):
        run(Order("signs", str(vit), "", signs, tmp_path / "two", choices), settings, told)
    (resumed,) = told.of("resuming")
    assert resumed["at_step"] in {6, 9}  # three steps an epoch; it may have been killed while the third was kept
    told = Told()
    third = Order("signs", str(vit), "", signs, tmp_path / "three", choices)
    done = run(third, settings, told)
    assert told.of("resuming")[0]["at_step"] > resumed["at_step"]
    assert [each["epoch"] for each in told.of("epoch")][-1] == 6
    assert not told.of("before")

    assert done["scores"]["images"] == 8
    assert {each["name"]: each["count"] for each in done["scores"]["classes"]} == {"no-entry": 4, "parking": 4}
    key = done["source"].removeprefix("lake://models/")
    served = tmp_path / "served"
    assert Bucket(settings, "models").copy(key, served) > 3
    manifest = json.loads((served / "manifest.json").read_text())
    assert (manifest["task"]["name"], "README.md" in manifest["files"]) == (CLASSIFICATION, True)
    card = (served / "README.md").read_text()
    for words_of_card in ("license: other", "| no-entry | 4 |", reading.read(signs).digest, "(95 % confidence)"):
        assert words_of_card in card
    kept = tmp_path / "kept"
    Bucket(settings, "training").copy(key, kept)
    files = {str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()}
    assert {"model/model.safetensors", "model/config.json", "model/README.md", "model/manifest.json"} <= files
    assert not [name for name in files if "checkpoint" in name or name.endswith((".bin", ".pth", ".pt"))]
    assert len([name for name in files if name.startswith("tensorboard/")]) == 3

    told = Told()
    assert run(third, settings, told) == done
    assert (len(told.of("found")), told.of("epoch"), told.of("exporting")) == (1, [], [])
    again = bases.fetch(done["weights"], "", settings, tmp_path)  # the next training may start from it
    assert (again.version, again.licence) == (bases.fetch(str(kept / "model"), "", settings, tmp_path).version, "other")


def test_a_detector_learns_with_its_own_loss_and_is_scored_by_its_boxes(
    settings: TrainerSettings, photos: Path, tmp_path: Path
) -> None:
    from transformers import set_seed

    from trainer import learning, tasks

    set_seed(0)
    counts = {"train": 4, "validation": 1, "test": 2}
    data = reading.read(dataset(tmp_path / "data", photos, counts, classes=("no-entry", "parking"), objects=True))
    task = tasks.open_task(make("yolos", tmp_path / "yolos"), data)
    choices = Order("boxes", "", "", tmp_path, tmp_path, {"epochs": 6, "learning_rate": 5e-3}).chosen(data.task)
    told = Told()
    learnt = learning.learn(task, data, choices, Run(Bucket(settings, "training"), "boxes/1", tmp_path / "run"), told)
    losses = [each["loss"] for each in told.of("epoch")]
    assert losses[-1] < losses[0]
    assert [each["validation"].keys() for each in told.of("epoch")] == [{"loss", "map50"}] * 6
    assert (learnt.scores.measure, learnt.scores.images) == ("mAP@0.5", 4)
    assert [each.count for each in learnt.scores.classes] == [2, 2]


def test_a_base_that_could_run_code_or_is_none_is_refused(settings: TrainerSettings, vit: Path, tmp_path: Path) -> None:
    pickled = shutil.copytree(vit, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    for source, why in (
        (str(pickled), "has no weights as safetensors; pickled ones could run any code"),
        (str(tmp_path / "nowhere"), "there is no model folder"),
        ("lake://models/signs/1", "is prepared for serving, and has no weights to learn with"),
        ("lake://training/signs/1", "has no whole signs/1/model"),
        ("nobody/such-model", "there is no base 'nobody/such-model'"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            bases.fetch(source, "", settings, tmp_path)


def test_without_a_lake_it_says_what_to_set(signs: Path, tmp_path: Path) -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("FRAMEMESH_S3")}
    argv = [
        sys.executable,
        "-m",
        "trainer",
        "--dataset",
        str(signs),
        "--base",
        "x",
        "--name",
        "x",
        "--folder",
        str(tmp_path),
    ]
    done = subprocess.run(argv, env=bare, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 78
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert "set FRAMEMESH_S3_ENDPOINT, FRAMEMESH_S3_ACCESS_KEY, FRAMEMESH_S3_SECRET_KEY" in error
