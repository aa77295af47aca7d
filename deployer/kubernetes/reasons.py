"""What pods and their logs say of how a model is doing, in the words of a status. Pure."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from deployer.kubernetes.objects import Object
from framemesh.errors import EXIT_CONFIGURATION

_IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_CONTAINER = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


def is_final(pods: Sequence[Object]) -> bool:
    """Whether one of these ended in a way that no restart can mend."""
    return any(ended["exitCode"] == EXIT_CONFIGURATION for pod in pods for ended in _ends(pod))


def trouble(pods: Sequence[Object]) -> str:
    """What keeps the first of these pods that is in trouble from working, in words; empty where none is."""
    return next(filter(None, map(_trouble, pods)), "")


def _trouble(pod: Object) -> str:
    status = pod.get("status", {})
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"unschedulable: {condition.get('message', 'no node takes it')}"
    if status.get("reason") == "Evicted":
        return f"evicted: {status.get('message', 'its node was short of something')}"
    image = pod["spec"]["containers"][0]["image"]
    for container in status.get("containerStatuses", ()):
        waiting = container.get("state", {}).get("waiting", {})
        told = waiting.get("message", waiting.get("reason"))
        if waiting.get("reason") in _IMAGE:
            return f"image {image} can't be pulled: {told}"
        if waiting.get("reason") in _CONTAINER:
            return f"its container can't be made: {told}"
    return next((_end(pod, ended) for ended in _ends(pod)), "")


def _ends(pod: Object) -> list[Object]:
    """How its containers ended that failed and are not well again."""
    return [
        ended
        for container in pod.get("status", {}).get("containerStatuses", ())
        if not container.get("ready")
        and (ended := _state(container, "state") or _state(container, "lastState"))
        and ended["exitCode"]
    ]


def _state(container: Object, which: str) -> Object | None:
    ended: Object | None = container.get(which, {}).get("terminated")
    return ended


def _end(pod: Object, ended: Object) -> str:
    if ended.get("reason") == "OOMKilled":
        limit = pod["spec"]["containers"][0]["resources"]["limits"]["memory"]
        return f"out of memory: it may have {limit}"
    said = [line for line in _documents(ended.get("message", "").splitlines()) if line.get("error")]
    if said:
        return str(said[-1]["error"])
    last = ended.get("message", "").strip().rpartition("\n")[2]
    return f"it ended with {ended['exitCode']}" + (f": {last}" if last else "")


def _documents(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    """The lines that are JSON objects, such as a service's log."""
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found
