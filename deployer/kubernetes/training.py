"""A training's Job; and the program behind `framemesh train --render`, which prints it for those who apply it."""

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise

import yaml
from pydantic import ValidationError

from deployer.kubernetes import marks, objects
from deployer.kubernetes.objects import Object
from deployer.kubernetes.rendering import OWNER
from deployer.kubernetes.settings import ClusterSettings
from framemesh import trainings
from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError, FramemeshError
from framemesh.names import MAX_MODEL_LENGTH, check_label
from framemesh.v1.training_pb2 import TrainingSpec

_RETRIES = 20  # of a lake that can't be reached, and of nodes that go away
_LOCAL = (".", "/", "~", "demo:")
_KEPT_SECONDS = 86_400
"""How long an ended Job of the deployer's stays, with its log."""


def job(settings: ClusterSettings, spec: TrainingSpec) -> Object:
    """The Job that the deployer has train this, and that Kubernetes deletes a day after its end.

    Raises:
        ConfigurationError: The dataset or the base is a folder of some machine.
    """
    _check(spec.dataset, spec.base)
    told = trainings.arguments(spec, folder=objects.CACHE)
    made = objects.training(settings, spec.name, told, retries=_RETRIES, owner=marks.TRAINING_OWNER)
    made["spec"]["ttlSecondsAfterFinished"] = _KEPT_SECONDS
    return made


def rendered(settings: ClusterSettings, name: str, arguments: Sequence[str]) -> list[Object]:
    """The objects of a training.

    Args:
        settings: Of the cluster.
        name: The model's.
        arguments: What else `python -m trainer` is told; a path among them no pod has.

    Raises:
        ConfigurationError: The dataset or the base is a folder of this machine.
    """
    check_label("model", name, max_length=MAX_MODEL_LENGTH)
    given = dict(pairwise(arguments))
    _check(given.get("--dataset", ""), given.get("--base", ""))
    told = ("--folder", objects.CACHE, "--name", name, *arguments)
    return [objects.training(settings, name, told, retries=_RETRIES, owner=OWNER)]


def _check(dataset: str, base: str) -> None:
    """Pass what a pod can read.

    Raises:
        ConfigurationError: One is a folder of some machine.
    """
    if not dataset.startswith(trainings.DATASETS):
        raise ConfigurationError(
            f"no pod can read the dataset {dataset!r}: export it to {trainings.DATASETS}NAME/VERSION"
        )
    if base.startswith(_LOCAL):
        raise ConfigurationError(
            f"no pod can read the base {base!r}: name a model of the hub, or lake://training/NAME/RUN"
        )


def main() -> None:
    """Run the program. Exits 78 where the training or a setting can't be."""
    parser = argparse.ArgumentParser(prog="framemesh train --render", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    try:
        made = rendered(ClusterSettings(), options.name, options.arguments)
    except (FramemeshError, ValidationError) as error:
        sys.stderr.write(f"framemesh train: {error}\n")
        sys.exit(EXIT_CONFIGURATION)
    yaml.safe_dump_all(made, sys.stdout, sort_keys=False, explicit_start=True, width=120)


if __name__ == "__main__":
    main()
