"""What is written on the objects of models: names, labels, and what makes two versions differ. Pure.

A model's name is in `MODEL_LABEL` of each of its objects, and nothing is the deployer's own that lacks `OWNER`.
"""

import hashlib
import json
from collections.abc import Sequence

from google.protobuf.json_format import MessageToDict

from framemesh.v1.model_pb2 import ModelSpec, Release

SERVER = "model-server"
EXPORTER = "model-exporter"
TRAINER = "model-trainer"
"""`app.kubernetes.io/name` of the pods: what NetworkPolicies and monitors select."""
GRPC_PORT = 50052
METRICS_PORT = 9090

OWNER = "framemesh-deployer"
"""Who made it: what `kubectl` shows as its manager, too."""
TRAINING_OWNER = "framemesh-trainings"
"""Who made a training's Job: no model's object, though it may have a model's name."""
NAME_LABEL = "app.kubernetes.io/name"
OWNER_LABEL = "app.kubernetes.io/managed-by"
MODEL_LABEL = "app.kubernetes.io/instance"
VERSION_LABEL = "framemesh.dev/version"
"""Of an exporter what it prepares, of a server which release it serves."""
APPLIED = "framemesh.dev/applied"
"""Annotation of what is applied: its digest."""

_EXPORTED = ("source", "revision", "task", "runtime", "precision")
_DIGITS = 10  # a Job's pods add 6 characters to `model-<40>-<10>`, and 63 is the most


def server_name(model: str) -> str:
    """Name of the Deployment, of the Service for callers, of the autoscaler and of the disruption budget."""
    return f"model-{model}"


def headless_name(model: str) -> str:
    """Name of the Service that names the model's pods one by one."""
    return f"model-{model}-pods"


def job_name(spec: ModelSpec) -> str:
    """Name of the Job that prepares exactly this."""
    return f"model-{spec.name}-{version(spec)}"


def training_name(model: str, arguments: Sequence[str]) -> str:
    """Name of the Job that trains exactly this."""
    return f"train-{model}-{_digest(arguments)}"


def version(spec: ModelSpec) -> str:
    """What is prepared, as 10 hexadecimal digits: another source, revision, task, runtime or precision is another."""
    content = MessageToDict(spec, preserving_proto_field_name=True)
    return _digest([content.get(field) for field in _EXPORTED])


def release_id(release: Release) -> str:
    """What is served, likewise: other weights, or the same with other words to look for."""
    return _digest([release.source, *release.spec.candidate_labels])


def labels(model: str, app: str, *, owner: str = OWNER) -> dict[str, str]:
    """What every object of a model is labelled with."""
    return {
        NAME_LABEL: app,
        MODEL_LABEL: model,
        "app.kubernetes.io/component": "model",
        "app.kubernetes.io/part-of": "framemesh",
        OWNER_LABEL: owner,
    }


def selector(model: str) -> dict[str, str]:
    """What selects the model's servers. A Deployment's can never be changed."""
    return {NAME_LABEL: SERVER, MODEL_LABEL: model}


def _digest(content: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:_DIGITS]
