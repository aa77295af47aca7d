"""Kubernetes objects as `kubectl kustomize` makes them of what is in `k8s/`."""

import copy
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from framemesh.mesh.servers import program

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"

_WITH_PODS = {"Deployment", "StatefulSet", "Job", "DaemonSet"}


@cache
def _objects(folder: Path) -> list[Object]:
    done = subprocess.run(
        (program("kubectl"), "kustomize", str(folder)), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [made for made in yaml.load_all(done.stdout, yaml.CSafeLoader) if made]


def render(folder: str | Path) -> list[Object]:
    """The objects of a folder of `k8s/`, or of another one; each call's are its own, to be changed at will."""
    return copy.deepcopy(_objects(K8S / folder))


def overlay(folder: Path, *, resources: tuple[str, ...], components: tuple[str, ...] = ()) -> Path:
    """An overlay as a user might write it, in a copy of `k8s/` beside it."""
    wanted = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "framemesh",
        "resources": [f"k8s/{name}" for name in resources],
        "components": [f"k8s/components/{name}" for name in components],
    }
    (folder / "k8s").symlink_to(K8S)
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    return folder


def find(objects: list[Object], kind: str, name: str) -> Object:
    """One object; a generated one by the name that it was given."""
    (found,) = [
        made
        for made in objects
        if made["kind"] == kind and (made["metadata"]["name"] == name or made["metadata"]["name"][:-11] == name)
    ]
    return found


def named(made: Object) -> str:
    """What an object is called in messages."""
    return f"{made['kind']}/{made['metadata']['name']}"


def pod_of(made: Object) -> Object:
    """The spec of the pods that an object makes; empty where it makes none."""
    return made["spec"]["template"]["spec"] if made["kind"] in _WITH_PODS else {}


def workloads(objects: list[Object]) -> list[Object]:
    """Those that make pods."""
    return [made for made in objects if made["kind"] in _WITH_PODS]


def pod_labels(made: Object) -> dict[str, str]:
    """The labels of the pods that an object makes."""
    return made["spec"]["template"]["metadata"]["labels"]  # type: ignore[no-any-return]


def containers(made: Object) -> list[Object]:
    """Those of its pods, that come first as well."""
    pod = pod_of(made)
    return [*pod.get("initContainers", []), *pod.get("containers", [])]
