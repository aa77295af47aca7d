"""The program behind `framemesh render`, `python -m deployer.kubernetes.rendering MODEL`: a model's objects as YAML.

They are those that the deployer makes, but for who looks after them: the deployer leaves them alone.
"""

import argparse
import sys

import yaml
from pydantic import ValidationError

from deployer import worker
from deployer.kubernetes import marks, objects
from deployer.kubernetes.objects import Object
from deployer.kubernetes.settings import ClusterSettings
from framemesh.errors import EXIT_CONFIGURATION, FramemeshError
from framemesh.specs import LAKE, parse
from framemesh.v1.model_pb2 import ModelSpec, Release

OWNER = "framemesh-render"
_RETRIES = 20  # of a hub that can't be reached; Kubernetes waits longer each time, up to 6 minutes


def rendered(settings: ClusterSettings, spec: ModelSpec) -> list[Object]:
    """The objects of a model, in the order in which they are to be applied.

    Nobody tells the servers which version a Job has made, so it is what the spec says: the Job puts the model there.

    Raises:
        ConfigurationError: The model's source is a folder, which no pod has.
    """
    objects.check(spec)
    made: list[Object] = []
    source = spec.source
    if not source.startswith(LAKE):
        source = f"{LAKE}{spec.name}/{marks.version(spec)}"
        arguments = worker.arguments(spec, cache=objects.CACHE, upload=source)
        made.append(objects.job(settings, spec, arguments, retries=_RETRIES, owner=OWNER))
    release = Release(spec=spec, source=source)
    replicas = spec.replicas
    made.append(objects.deployment(settings, release, replicas=replicas, owner=OWNER))
    made.extend(objects.around(settings, spec.name, replicas=replicas, owner=OWNER))
    if objects.is_scaled(settings, replicas):
        for found in made:
            if found["kind"] == "Deployment":
                del found["spec"]["replicas"]  # the autoscaler's: each `apply` would undo what it did
    return made


def main() -> None:
    """Run the program. Exits 78 where the model or a setting can't be."""
    parser = argparse.ArgumentParser(prog="framemesh render", description=__doc__)
    parser.add_argument("model")
    arguments = parser.parse_args()
    try:
        made = rendered(ClusterSettings(), parse(arguments.model))
    except (FramemeshError, ValidationError) as error:
        sys.stderr.write(f"framemesh render: {error}\n")
        sys.exit(EXIT_CONFIGURATION)
    yaml.safe_dump_all(made, sys.stdout, sort_keys=False, explicit_start=True, width=120)


if __name__ == "__main__":
    main()
