"""What is written on the objects of models: names, labels, and what makes two versions differ. Pure.

A model's name is in `MODEL_LABEL` of each of its objects, and nothing is the deployer's own that lacks `OWNER`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence

from google.protobuf.json_format import MessageToDict

from framemesh.specs import LAKE
from framemesh.v1.model_pb2 import ModelSpec

SERVER = "model-server"
EXPORTER = "model-exporter"
"""`app.kubernetes.io/name` of the pods: what NetworkPolicies and monitors select."""
GRPC_PORT = 50052
METRICS_PORT = 9090

OWNER = "framemesh-deployer"
FIELD_MANAGER = OWNER
NAME_LABEL = "app.kubernetes.io/name"
OWNER_LABEL = "app.kubernetes.io/managed-by"
MODEL_LABEL = "app.kubernetes.io/instance"
VERSION_LABEL = "framemesh.dev/version"

_EXPORTED = ("source", "revision", "task", "runtime", "precision")
_SERVED = (*_EXPORTED, "candidate_labels")
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


def version(spec: ModelSpec) -> str:
    """What is prepared, as 10 hexadecimal digits: another source, revision, task, runtime or precision is another."""
    return _digest(spec, _EXPORTED)


def release(spec: ModelSpec) -> str:
    """What is served: another version, or the same with other words to look for."""
    return _digest(spec, _SERVED)


def stored(spec: ModelSpec) -> str:
    """Where the prepared model is in the lake."""
    return spec.source if spec.source.startswith(LAKE) else f"{LAKE}{spec.name}/{version(spec)}"


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


def _digest(spec: ModelSpec, fields: Sequence[str]) -> str:
    content: Mapping[str, object] = MessageToDict(spec, preserving_proto_field_name=True)
    chosen = {field: content[field] for field in fields if field in content}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:_DIGITS]
