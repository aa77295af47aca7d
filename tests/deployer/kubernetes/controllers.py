"""What makes objects live in a cluster, small: Jobs run, Deployments roll, scalers scale, pods crash, orphans go.

Time is counted in steps, and nothing waits for a clock.
"""

import asyncio
import hashlib
import itertools
import json
from copy import deepcopy
from dataclasses import dataclass, field

from tests.deployer.kubernetes.apiserver import Store
from tests.deployer.kubernetes.applying import Object

_DEADLINE_STEPS = 30
_REFUSED = {
    "type": "ReplicaFailure",
    "status": "True",
    "reason": "FailedCreate",
    "message": 'pods "model-vit-1" is forbidden: exceeded quota: models',
}


@dataclass(frozen=True)
class Run:
    """How a Job's pod runs: a line of its log at each step, then the end."""

    lines: tuple[str, ...] = ()
    code: int = 0
    reason: str = "Completed"
    runtime: str = "onnx"
    stuck: str = ""
    """Why it never begins."""


def stored(model: str, source: str) -> str:
    """Where an exporter puts a model."""
    return f"lake://models/{model}/{hashlib.sha256(source.encode()).hexdigest()[:8]}"


def prepared(model: str, source: str, runtime: str) -> str:
    """What an exporter writes last."""
    return json.dumps({"source": stored(model, source), "version": "a" * 40, "runtime": runtime})


@dataclass
class Controllers:
    """The controllers over a store.

    Attributes:
        exports: How exporters run, by the model's source.
        trainings: How trainers run, by the model's name.
        servers: What becomes of servers, by the image or the source that they load: `ready` unless told otherwise.
        quota: How many servers a model may have; the cluster refuses more.
        least_ready: The fewest ready servers since a Deployment first had one, by its name.
    """

    store: Store
    exports: dict[str, Run] = field(default_factory=dict)
    trainings: dict[str, Run] = field(default_factory=dict)
    servers: dict[str, str] = field(default_factory=dict)
    quota: int = 100
    least_ready: dict[str, int] = field(default_factory=dict)
    _names: "itertools.count[int]" = field(default_factory=itertools.count)
    _stuck: dict[str, tuple[object, int]] = field(default_factory=dict)

    async def run(self) -> None:
        """Step for ever."""
        while True:
            self.step()
            await asyncio.sleep(0.01)

    def step(self) -> None:
        """Let every object live for one moment."""
        for job in self.store.all("jobs"):
            self._job(deepcopy(job))
        for scaler in self.store.all("horizontalpodautoscalers"):
            self._scale(scaler["spec"])
        for deployment in self.store.all("deployments"):
            self._deployment(deepcopy(deployment))
        there = {found["metadata"]["uid"] for found in self.store.objects.values()}
        for pod in self.store.all("pods"):
            if pod["metadata"]["ownerReferences"][0]["uid"] not in there:
                self.store.remove("pods", pod["metadata"]["name"])

    def _job(self, job: Object) -> None:
        if job.get("status", {}).get("conditions"):
            return None
        name = job["metadata"]["name"]
        run, lines = self._run_of(job)
        pods = self._pods_of(job)
        pod = deepcopy(pods[-1]) if pods else None
        if pod is None or (pod["status"]["phase"] == "Failed" and len(pods) <= job["spec"]["backoffLimit"]):
            self._new_pod(job, f"{name}-{next(self._names)}", {})
            return None
        if pod["status"]["phase"] == "Failed":
            return self._end_job(job, "Failed", "BackoffLimitExceeded")
        if run.stuck:
            pod["status"] = _blocked(run.stuck)
            self._put("pods", pod)
            return None
        log = self.store.logs.setdefault(pod["metadata"]["name"], [])
        if len(log) < len(lines):
            log.append(lines[len(log)])
            pod["status"] = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}
            self._put("pods", pod)
            return None
        ended = {"exitCode": run.code, "reason": run.reason, "message": "\n".join(lines) if run.code else ""}
        pod["status"] = {
            "phase": "Failed" if run.code else "Succeeded",
            "containerStatuses": [{"state": {"terminated": ended}}],
        }
        self._put("pods", pod)
        final = job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"]
        if run.code == 0:
            self._end_job(job, "Complete", "")
        elif run.code in final:
            self._end_job(job, "Failed", "PodFailurePolicy")
        return None

    def _run_of(self, job: Object) -> tuple[Run, tuple[str, ...]]:
        """How a Job's pods run, and all that they write."""
        (container,) = job["spec"]["template"]["spec"]["containers"]
        if container["name"] == "train":
            run = self.trainings[job["metadata"]["labels"]["app.kubernetes.io/instance"]]
            return run, run.lines
        *_, model, _, source = container["args"]
        run = self.exports.get(source, Run())
        return run, run.lines if run.code else (*run.lines, prepared(model, source, run.runtime))

    def _end_job(self, job: Object, condition: str, reason: str) -> None:
        job["status"] = {"conditions": [{"type": condition, "status": "True", "reason": reason}]}
        self._put("jobs", job)

    def _scale(self, scaler: Object) -> None:
        deployment = deepcopy(self.store.objects.get(("deployments", scaler["scaleTargetRef"]["name"])))
        if deployment is not None and deployment["spec"]["replicas"] > 0:  # none at all is left at that
            allowed = max(scaler["minReplicas"], min(deployment["spec"]["replicas"], scaler["maxReplicas"]))
            deployment["spec"]["replicas"] = allowed
            self._put("deployments", deployment)

    def _deployment(self, deployment: Object) -> None:
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        template = spec["template"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]
        pods = self._pods_of(deployment)
        new = [pod for pod in pods if pod["metadata"]["labels"]["pod-template-hash"] == digest]
        old = [pod for pod in pods if pod not in new]
        for pod in new:
            self._serve(deepcopy(pod))
        ready = [pod for pod in pods if _is_ready(pod)]
        wanted = spec["replicas"]
        refused = len(new) < wanted and len(pods) >= self.quota
        if len(new) < wanted and len(pods) < wanted + 1 and not refused:
            self._new_pod(deployment, f"{name}-{digest}-{next(self._names)}", {"pod-template-hash": digest})
        elif len(pods) > wanted:  # one goes that is not missed: broken ones first, then old ones
            spare = next((pod for pod in old if not _is_ready(pod)), None)
            spare = spare or next(iter(old if len(ready) > wanted else ()), None)
            spare = spare or (new[-1] if len(new) > wanted else None)
            if spare is not None:
                self.store.remove("pods", spare["metadata"]["name"])
        if ready or name in self.least_ready:
            self.least_ready[name] = min(self.least_ready.get(name, len(ready)), len(ready))
        self._tell(deployment, new, pods, refused=refused)

    def _tell(self, deployment: Object, new: list[Object], pods: list[Object], *, refused: bool) -> None:
        """The Deployment's status, with its conditions `Progressing` and, where pods are refused, `ReplicaFailure`."""
        uid, wanted = deployment["metadata"]["uid"], deployment["spec"]["replicas"]
        ready = [pod for pod in pods if _is_ready(pod)]
        done = len(new) == len(pods) == wanted == len(ready)
        outline = (deployment["metadata"]["generation"], len(new), len(pods), len(ready))
        last, steps = self._stuck.get(uid, (None, 0))
        steps = 0 if done or outline != last else steps + 1
        self._stuck[uid] = (outline, steps)
        late = steps >= _DEADLINE_STEPS
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(new),
            "readyReplicas": len(ready),
            "availableReplicas": len(ready),
            "conditions": [
                {
                    "type": "Progressing",
                    "status": "False" if late else "True",
                    "reason": "ProgressDeadlineExceeded" if late else "ReplicaSetUpdated",
                },
                *([_REFUSED] if refused else ()),
            ],
        }
        self._put("deployments", deployment)

    def _serve(self, pod: Object) -> None:
        (container,) = pod["spec"]["containers"]
        environment = {entry["name"]: entry.get("value") for entry in container["env"]}
        fate = self.servers.get(str(environment["FRAMEMESH_MODEL_SOURCE"]), "ready")
        fate = self.servers.get(container["image"], fate)
        match fate:
            case "ready":
                status: Object = {"state": {"running": {}}}
            case "out of memory":
                ended = {"exitCode": 137, "reason": "OOMKilled"}
                status = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended}}
            case "no image":
                status = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}
            case _:
                ended = {"exitCode": 78, "reason": "Error", "message": json.dumps({"error": fate})}
                status = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended}}
        pod["status"] = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if fate == "ready" else "False"}],
            "containerStatuses": [{"name": container["name"], **status}],
        }
        self._put("pods", pod)

    def _new_pod(self, owner: Object, name: str, labels: dict[str, str]) -> None:
        template = deepcopy(owner["spec"]["template"])
        template["metadata"]["labels"] |= labels
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
        template["metadata"]["ownerReferences"] = [{**reference, "uid": owner["metadata"]["uid"], "controller": True}]
        self.store.put("pods", name, {**template, "status": {"phase": "Pending"}})

    def _pods_of(self, owner: Object) -> list[Object]:
        uid = owner["metadata"]["uid"]
        return [pod for pod in self.store.all("pods") if pod["metadata"]["ownerReferences"][0]["uid"] == uid]

    def _put(self, plural: str, content: Object) -> None:
        self.store.put(plural, content["metadata"]["name"], content)


def _is_ready(pod: Object) -> bool:
    return {"type": "Ready", "status": "True"} in pod["status"].get("conditions", [])


def _blocked(why: str) -> Object:
    if why == "no image":
        waiting = {"reason": "ErrImagePull", "message": "manifest unknown"}
        return {"phase": "Pending", "containerStatuses": [{"state": {"waiting": waiting}}]}
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
    return {"phase": "Pending", "conditions": [condition]}
