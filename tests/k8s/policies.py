"""What every object that we ship must hold, as functions from objects to what is wrong with them. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import chain

from tests.k8s.rendering import Object, containers, named, pod_labels, pod_of, workloads

Problems = Iterable[str]

_WITH_TAG = re.compile(r"[\w./-]+:(?!latest$)[\w.-]+(@sha256:[0-9a-f]{64})?")
_SCALED = {"Deployment", "StatefulSet"}
_VOLUMES = {"configMap", "secret", "emptyDir", "projected", "persistentVolumeClaim"}
_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_POWERS = {"secrets", "configmaps", "serviceaccounts", "roles", "rolebindings", "pods/exec", "escalate", "bind"}


def probes(objects: list[Object]) -> Problems:
    """What runs for ever is asked whether it starts, is ready and lives, at ports that it has."""
    for made in workloads(objects):
        if made["kind"] == "Job":
            continue
        for container in pod_of(made)["containers"]:
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe not in container:
                    yield f"{named(made)} has no {probe}"
                    continue
                (how,) = [
                    container[probe][way] for way in ("grpc", "httpGet", "tcpSocket") if container[probe].get(way)
                ]
                if how["port"] not in {*ports, *ports.values()}:
                    yield f"{named(made)}: {probe} asks port {how['port']}, and has {sorted(ports)}"


def resources(objects: list[Object]) -> Problems:
    """Every container says what it needs, and has a limit of memory."""
    for made in workloads(objects):
        for container in containers(made):
            said = container.get("resources", {})
            for kind, name in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
                if name not in said.get(kind, {}):
                    yield f"{named(made)}/{container['name']} has no {kind} of {name}"
        for volume in pod_of(made).get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{named(made)}: volume {volume['name']} may fill the node's disk"


def restricted(objects: list[Object]) -> Problems:
    """Pod Security's level `restricted`, and a root file system that can't be written."""
    for made in workloads(objects):
        pod = pod_of(made)
        context = pod.get("securityContext", {})
        if not context.get("runAsNonRoot") or not context.get("runAsUser"):
            yield f"{named(made)} may run as root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{named(made)} has no seccomp profile"
        yield from (f"{named(made)} has {one}" for one in ("hostNetwork", "hostPID", "hostIPC") if pod.get(one))
        for volume in pod.get("volumes", []):
            if not volume.keys() & _VOLUMES:
                yield f"{named(made)}: volume {volume['name']} is of a kind that `restricted` forbids"
        for container in containers(made):
            own = container.get("securityContext", {})
            for name, value in _CONTAINER.items():
                if own.get(name) != value:
                    yield f"{named(made)}/{container['name']}: {name} is {own.get(name)}"


def api_keys(objects: list[Object]) -> Problems:
    """The deployer alone talks to the Kubernetes API, about nothing that gives it more rights."""
    for made in objects:
        if made["kind"] == "ServiceAccount" and made.get("automountServiceAccountToken") is not False:
            yield f"{named(made)} gives its pods a key to the API"
        elif made["kind"] in {"ClusterRole", "ClusterRoleBinding"}:
            yield f"{named(made)} reaches beyond the namespace"
        elif made["kind"] == "Role":
            named_things = {word for rule in made["rules"] for words in rule.values() for word in words}
            if excess := named_things & {"*", *_POWERS}:
                yield f"{named(made)} may do {sorted(excess)}"
        elif made["kind"] == "RoleBinding" and [one["name"] for one in made["subjects"]] != ["deployer"]:
            yield f"{named(made)} is for others than the deployer"
    for made in workloads(objects):
        key = pod_of(made).get("automountServiceAccountToken", False)
        if key != (named(made) == "Deployment/deployer"):
            yield f"{named(made)}: automountServiceAccountToken is {key}"


def outages(objects: list[Object]) -> Problems:
    """Camera agents are not restarted for want of NATS, which `/healthz` tells: they keep frames for it meanwhile."""
    for made in workloads(objects):
        for container in containers(made):
            for probe in ("startupProbe", "livenessProbe"):
                asked = (container.get(probe, {}).get("httpGet") or {}).get("path")
                if container["name"] == "ingest" and asked == "/healthz":
                    yield f"{named(made)}: {probe} asks for NATS"


def images(objects: list[Object]) -> Problems:
    """Every image has a tag that means one thing."""
    for made in workloads(objects):
        for container in containers(made):
            if not _WITH_TAG.fullmatch(container["image"]):
                yield f"{named(made)} runs {container['image']}"


def selectors(objects: list[Object]) -> Problems:
    """Whatever selects pods selects some, and a Service's ports are theirs."""
    for made in objects:
        spec = made.get("spec", {})
        if made["kind"] == "Service":
            chosen = [one for one in workloads(objects) if matches({"matchLabels": spec["selector"]}, pod_labels(one))]
            for port in spec["ports"]:
                for one in chosen:
                    there = [port["name"] for container in containers(one) for port in container.get("ports", [])]
                    if port["targetPort"] not in there:
                        yield f"{named(made)}: {named(one)} has no port {port['targetPort']}"
        elif made["kind"] in {"PodDisruptionBudget", *_SCALED}:
            chosen = [one for one in workloads(objects) if matches(spec.get("selector", {}), pod_labels(one))]
        elif made["kind"] == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]
            chosen = [
                one for one in objects if (one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"])
            ]
            if any("replicas" in one["spec"] for one in chosen):
                yield f"{named(made)}: its target's own number of replicas would undo it at each apply"
        else:
            continue
        if len(chosen) != 1:
            yield f"{named(made)} selects {[named(one) for one in chosen]}"


def stops(objects: list[Object]) -> Problems:
    """The grace of a stop is enough for the pause before it and for draining; who serves callers has such a pause."""
    for made in workloads(objects):
        for container in pod_of(made)["containers"]:
            drain = next(
                (float(one["value"]) for one in _variables(container) if one["name"].endswith("DRAIN_SECONDS")), 0
            )
            pause = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [])
            seconds = float(pause[1]) if pause[:1] == ["sleep"] else 0.0
            grace = pod_of(made).get("terminationGracePeriodSeconds", 30)
            if seconds + drain + 5 > grace:
                yield f"{named(made)} is killed after {grace} s, and takes up to {seconds + drain + 5} s to stop"
            if drain and any(port["name"] == "grpc" for port in container["ports"]) and not seconds:
                yield f"{named(made)} stops before callers know that it will"


def references(objects: list[Object], secrets: Iterable[str]) -> Problems:
    """Each ConfigMap, Secret and account that pods name is there; `secrets` are made by hand."""
    there = {(made["kind"], made["metadata"]["name"]) for made in objects}
    there |= {("Secret", name) for name in secrets}
    there |= {("Secret", made["spec"]["secretName"]) for made in objects if made["kind"] == "Certificate"}
    for made in workloads(objects):
        pod = pod_of(made)
        wanted = [("ServiceAccount", pod["serviceAccountName"])] if "serviceAccountName" in pod else []
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                wanted.append(("ConfigMap", volume["configMap"]["name"]))
            if "secret" in volume:
                wanted.append(("Secret", volume["secret"]["secretName"]))
        for source in chain.from_iterable(container.get("envFrom", []) for container in containers(made)):
            for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if key in source and not source[key].get("optional"):
                    wanted.append((kind, source[key]["name"]))
        mounts = [mount["name"] for container in containers(made) for mount in container.get("volumeMounts", [])]
        claims = [claim["metadata"]["name"] for claim in made["spec"].get("volumeClaimTemplates", [])]
        volumes = [volume["name"] for volume in pod.get("volumes", [])]
        if {*mounts} != {*claims, *volumes}:
            yield f"{named(made)} mounts {sorted({*mounts})} and has {sorted({*claims, *volumes})}"
        yield from (f"{named(made)}: no {kind} {name}" for kind, name in wanted if (kind, name) not in there)


def named_for_framemesh(objects: list[Object]) -> Problems:
    """Each object is in our namespace and says that it is ours."""
    for made in objects:
        if made["kind"] != "Namespace" and made["metadata"].get("namespace") != "framemesh":
            yield f"{named(made)} is in no namespace"
        if made["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") != "framemesh":
            yield f"{named(made)} does not say that it is framemesh's"


def matches(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes something with these labels."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "In", one
        if labels.get(one["key"]) not in one["values"]:
            return False
    return True


def _variables(container: Object) -> list[Object]:
    return [one for one in container.get("env", []) if "value" in one]


ALL: tuple[Callable[[list[Object]], Problems], ...] = (
    probes, resources, restricted, api_keys, outages, images, selectors, stops, named_for_framemesh,
)  # fmt: skip


def problems(objects: list[Object]) -> list[str]:
    """All that is wrong by those policies that need nothing but the objects."""
    return [problem for policy in ALL for problem in policy(objects)]
