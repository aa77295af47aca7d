"""The Kubernetes objects of one model. Pure: a spec and the cluster's settings in, plain dictionaries out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from deployer.kubernetes import marks
from deployer.kubernetes.settings import ClusterSettings
from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError
from framemesh.specs import LAKE
from framemesh.v1.model_pb2 import ModelSpec, Release, Runtime

Object = dict[str, Any]

CACHE = "/cache"
TMP = "/tmp"  # noqa: S108 - a pod's own
KILLED = 137
"""What a container ends with that the kernel or the kubelet killed: of an exporter, nearly always for its memory."""

_LEAVE_SECONDS = 5
"""How long a server that is to go still serves, so that no kube-proxy sends new callers to one that is closed."""
_SETTLE_SECONDS = 5
_TIDY_SECONDS = 10
_CHECKPOINT_SECONDS = 300
"""How long a training that is to end may take to write a checkpoint into the lake."""
_PROBE_SECONDS = 5
_UID = 65532


def check(spec: ModelSpec) -> None:
    """Pass a spec that can run in a cluster.

    Raises:
        ConfigurationError: Its source is a folder, which no pod has.
    """
    if spec.source.startswith((".", "/", "~", "demo:")):
        raise ConfigurationError(
            f"{spec.source!r} is on one machine, and no pod can read it: name a model of the hub, or put it into the "
            f"lake with `framemesh export {spec.source} --upload {LAKE}{spec.name}/1` and deploy that",
            source=spec.source,
        )


def job(
    settings: ClusterSettings, spec: ModelSpec, arguments: Sequence[str], *, retries: int = 0, owner: str = marks.OWNER
) -> Object:
    """Downloads, verifies, exports and uploads the model. A Job never changes once it is made.

    Args:
        settings: Of the cluster.
        spec: The model.
        arguments: What the program is told that prepares it.
        retries: How often Kubernetes tries again what may mend itself, such as a hub that can't be reached.
        owner: Who looks after it.
    """
    labels = marks.labels(spec.name, marks.EXPORTER, owner=owner) | {marks.VERSION_LABEL: marks.version(spec)}
    container = _container(
        "export",
        settings.exporter_image,
        settings.exporter_secret,
        settings,
        _resources(settings.exporter_cpu, settings.exporter_memory),
    ) | {
        "command": ["python", "-m", "model_server.building"],
        "args": [_literally(argument) for argument in arguments],
        "env": _variables({"HOME": TMP, "HF_HOME": f"{CACHE}/hub"}),
    }
    pod = _pod_spec(container, cache=settings.exporter_cache_size, grace_seconds=30)
    return _job(settings, marks.job_name(spec), labels, pod, retries=retries, seconds=settings.export_seconds)


def training(settings: ClusterSettings, model: str, arguments: Sequence[str], *, retries: int, owner: str) -> Object:
    """Fine-tunes a model. A pod that is to end leaves a checkpoint in the lake, from which the next one goes on.

    Args:
        settings: Of the cluster.
        model: The model's name.
        arguments: What the program is told that trains it.
        retries: How often Kubernetes tries again what may mend itself.
        owner: Who looks after it.
    """
    labels = marks.labels(model, marks.TRAINER, owner=owner)
    resources = _resources(settings.trainer_cpu, settings.trainer_memory)
    if settings.trainer_gpus:
        resources["limits"]["nvidia.com/gpu"] = str(settings.trainer_gpus)
    container = _container("train", settings.trainer_image, settings.trainer_secret, settings, resources) | {
        "command": ["python", "-m", "trainer"],
        "args": [_literally(argument) for argument in arguments],
        "env": _variables({"HOME": TMP, "HF_HOME": f"{CACHE}/hub"}),
    }
    pod = _pod_spec(container, cache=settings.trainer_cache_size, grace_seconds=_CHECKPOINT_SECONDS)
    name = marks.training_name(model, arguments)
    return _job(settings, name, labels, pod, retries=retries, seconds=settings.train_seconds)


def _job(
    settings: ClusterSettings, name: str, labels: Mapping[str, str], pod: Object, *, retries: int, seconds: int
) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(settings, name, labels),
        "spec": {
            "backoffLimit": retries,
            "activeDeadlineSeconds": seconds,
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {  # what would end the same way again: a model that can't be served so, or that lacked memory
                        "action": "FailJob",
                        "onExitCodes": {"operator": "In", "values": [EXIT_CONFIGURATION, KILLED]},
                        "onPodConditions": [],  # the schemas up to 1.28 want it
                    },
                ]
            },
            "template": {"metadata": {"labels": dict(labels)}, "spec": pod | {"restartPolicy": "Never"}},
        },
    }


def deployment(
    settings: ClusterSettings,
    release: Release,
    *,
    replicas: int,
    owner: str = marks.OWNER,
) -> Object:
    """The model's servers. A new release replaces them one by one, and none goes before a new one is ready."""
    model = release.spec.name
    labels = marks.labels(model, marks.SERVER, owner=owner)
    container = _container(
        "server",
        settings.exporter_image if needs_torch(release) else settings.server_image,
        settings.server_secret,
        settings,
        _resources(settings.server_cpu, settings.server_memory),
    ) | {
        "command": ["python", "-m", "model_server"],
        "env": _environment(settings, release),
        "ports": [
            {"name": "grpc", "containerPort": marks.GRPC_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": marks.METRICS_PORT, "protocol": "TCP"},
        ],
        "startupProbe": _probe(model, failures=-(-settings.start_seconds // _PROBE_SECONDS)),
        "readinessProbe": _probe(model, failures=1),
        "livenessProbe": _probe(model, failures=6),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(_LEAVE_SECONDS)]}}},
    }
    grace_seconds = _LEAVE_SECONDS + settings.server_drain_seconds + _TIDY_SECONDS
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(settings, marks.server_name(model), labels),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "minReadySeconds": _SETTLE_SECONDS,
            "progressDeadlineSeconds": settings.start_seconds,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": marks.selector(model)},
            "template": {
                "metadata": {"labels": labels | {marks.VERSION_LABEL: marks.release_id(release)}},
                "spec": _pod_spec(container, cache=settings.cache_size, grace_seconds=grace_seconds)
                | {
                    "topologySpreadConstraints": [
                        {
                            "maxSkew": 1,
                            "topologyKey": key,
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": marks.selector(model)},
                        }
                        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
                    ]
                },
            },
        },
    }


def around(settings: ClusterSettings, model: str, *, replicas: int, owner: str = marks.OWNER) -> list[Object]:
    """What stands around the servers: two Services, a disruption budget and, where load may add servers, a scaler."""
    labels = marks.labels(model, marks.SERVER, owner=owner)
    name = marks.server_name(model)
    service: Object = {
        "selector": marks.selector(model),
        "ports": [
            {
                "name": "grpc",
                "port": marks.GRPC_PORT,
                "targetPort": "grpc",
                "protocol": "TCP",
                "appProtocol": "kubernetes.io/h2c",
            }
        ],
    }
    made = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(settings, name, labels),
            "spec": {"type": "ClusterIP", **service},
        },
        {  # a gRPC client keeps one connection: only one that sees each pod can spread its calls
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(settings, marks.headless_name(model), labels),
            "spec": {"type": "ClusterIP", "clusterIP": "None", **service},
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": _metadata(settings, name, labels),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": marks.selector(model)}},
        },
    ]
    if is_scaled(settings, replicas):
        made.append(
            {
                "apiVersion": "autoscaling/v2",
                "kind": "HorizontalPodAutoscaler",
                "metadata": _metadata(settings, name, labels),
                "spec": {
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                    "minReplicas": replicas,
                    "maxReplicas": settings.max_replicas,
                    "metrics": [
                        {
                            "type": "Resource",
                            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
                        }
                    ],
                },
            }
        )
    return made


def is_scaled(settings: ClusterSettings, replicas: int) -> bool:
    """Whether load may add servers to those that were asked for."""
    return 0 < replicas < settings.max_replicas


def allowed_replicas(settings: ClusterSettings, replicas: int, running: int) -> int:
    """How many servers there should be where so many are: as many as were asked for, or what load has made of them."""
    most = settings.max_replicas if is_scaled(settings, replicas) else replicas
    return min(max(running, replicas), most)


def needs_torch(release: Release) -> bool:
    """Whether torch has to run it: it was asked for, or the model could not be exported."""
    return Runtime.RUNTIME_TORCH in {release.spec.runtime, release.runtime}


def _environment(settings: ClusterSettings, release: Release) -> list[Object]:
    variables = {
        "HOME": TMP,  # the user has none
        "FRAMEMESH_MODEL_NAME": release.spec.name,
        "FRAMEMESH_MODEL_SOURCE": release.source,
        "FRAMEMESH_MODEL_LABELS": json.dumps(list(release.spec.candidate_labels)),
        "FRAMEMESH_MODEL_CACHE": CACHE,  # runtime and precision are as prepared, be they a fallback's or not
        "FRAMEMESH_GRPC_ADDRESS": f"0.0.0.0:{marks.GRPC_PORT}",
        "FRAMEMESH_HTTP_ADDRESS": f"0.0.0.0:{marks.METRICS_PORT}",
        "FRAMEMESH_DRAIN_SECONDS": str(settings.server_drain_seconds),
    }
    fields = {"FRAMEMESH_REPLICA": "metadata.name", "FRAMEMESH_ADVERTISE_HOST": "status.podIP"}
    return [
        *_variables(variables),
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
    ]


def _variables(values: Mapping[str, str]) -> list[Object]:
    return [{"name": name, "value": _literally(value)} for name, value in values.items()]


def _literally(text: str) -> str:
    """A text that Kubernetes takes as it is: it puts variables, secret ones too, where it finds `$(NAME)`."""
    return text.replace("$", "$$")


def _container(name: str, image: str, secret: str, settings: ClusterSettings, resources: Object) -> Object:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "envFrom": [
            {"configMapRef": {"name": settings.lake_config, "optional": True}},
            {"secretRef": {"name": secret}},
        ],
        "resources": resources,
        "terminationMessagePolicy": "FallbackToLogsOnError",  # its last line says why, and is then in the pod's status
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "cache", "mountPath": CACHE}, {"name": "tmp", "mountPath": TMP}],
    }


def _pod_spec(container: Object, *, cache: str, grace_seconds: int) -> Object:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _UID,
            "runAsGroup": _UID,
            "fsGroup": _UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "cache", "emptyDir": {"sizeLimit": cache}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }


def _resources(cpu: str, memory: str) -> Object:
    amounts = {"cpu": cpu, "memory": memory}
    return {"requests": dict(amounts), "limits": dict(amounts)}


def _probe(model: str, *, failures: int) -> Object:
    return {
        "grpc": {"port": marks.GRPC_PORT, "service": model},
        "periodSeconds": _PROBE_SECONDS,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def _metadata(settings: ClusterSettings, name: str, labels: Mapping[str, str]) -> Object:
    return {"name": name, "namespace": settings.namespace, "labels": dict(labels)}
