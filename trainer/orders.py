"""What is to be trained: a base, a dataset, and how. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Choices:
    """How to train. The same choices, base and dataset are the same run.

    Attributes:
        epochs: The most; training ends earlier once the validation split has shown no gain for a while.
        batch_size: Images a step.
        learning_rate: Of what is new, the highest that it comes to; the pretrained part takes a twentieth of it.
        head_only: The pretrained part stays as it is. Else it does so for the first epoch alone.
        seed: Of everything that is left to chance.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    head_only: bool
    seed: int


CLASSIFICATION = "image-classification"
DETECTION = "object-detection"

USUAL: dict[str, Choices] = {
    CLASSIFICATION: Choices(epochs=20, batch_size=16, learning_rate=5e-3, head_only=False, seed=0),
    DETECTION: Choices(epochs=60, batch_size=4, learning_rate=2e-4, head_only=False, seed=0),
}
"""What is chosen where nobody does, by task."""


@dataclass(frozen=True, slots=True)
class Order:
    """One training.

    Attributes:
        name: The model's, as a DNS label.
        base: A hub id or a folder: what training starts from.
        revision: The hub's branch, tag or commit; empty means the default branch.
        dataset: The folder of an exported dataset.
        folder: Where the run keeps its files on this machine.
        choices: Those that were made; the others are the task's usual ones.
    """

    name: str
    base: str
    revision: str
    dataset: Path
    folder: Path
    choices: Mapping[str, float]

    def chosen(self, task: str) -> Choices:
        """How to train for this task."""
        return Choices(**{**asdict(USUAL[task]), **self.choices})


def run_id(*, base_version: str, dataset_digest: str, choices: Choices) -> str:
    """The name of a run: whoever asks for the same again gets the same one, and goes on where it is."""
    recipe = {"base": base_version, "dataset": dataset_digest, "choices": asdict(choices)}
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
