"""The program behind `framemesh train --render`: a training's Job as YAML, for those who apply it."""

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise

import yaml
from pydantic import ValidationError

from deployer.kubernetes import objects
from deployer.kubernetes.objects import Object
from deployer.kubernetes.rendering import OWNER
from deployer.kubernetes.settings import ClusterSettings
from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError, FramemeshError
from framemesh.names import MAX_MODEL_LENGTH, check_label

_RETRIES = 20  # of a lake that can't be reached, and of nodes that go away
_LOCAL = (".", "/", "~", "demo:")


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
    if not given.get("--dataset", "").startswith("lake://"):
        raise ConfigurationError(
            f"no pod can read the dataset {given.get('--dataset')!r}: export it to lake://datasets/NAME/VERSION"
        )
    if given.get("--base", "").startswith(_LOCAL):
        raise ConfigurationError(
            f"no pod can read the base {given['--base']!r}: name a model of the hub, or lake://training/NAME/RUN"
        )
    return [objects.training(settings, name, ("--name", name, *arguments), retries=_RETRIES, owner=OWNER)]


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
