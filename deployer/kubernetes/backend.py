"""Models as Kubernetes objects: a Job prepares a model, a Deployment serves it.

Each look at the cluster says what to do next: where a deployer is killed the next one goes on, and two at once do the
same.
"""

import asyncio
from collections.abc import Mapping

import structlog

from deployer import worker
from deployer.kubernetes import marks, objects, reasons, states
from deployer.kubernetes.api import DEPLOYMENT, JOB, OWNED, POD, SCALER, Cluster, Kind
from deployer.kubernetes.changes import Changes, done, pods_of
from deployer.kubernetes.objects import Object
from deployer.kubernetes.settings import ClusterSettings
from deployer.reconciling import Tell
from framemesh.errors import ConfigurationError, FramemeshError, ModelUnavailableError
from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from framemesh.v1.model_pb2 import ModelSpec, Release
from framemesh.waiting import cancelled, jittered

log = structlog.get_logger()

_MEND_SECONDS = 15.0


class KubernetesModels:
    """The backend of a cluster. Run it beside what uses it: it notices what changes there.

    Args:
        cluster: Where the objects are.
        settings: How models run there.
    """

    name = "cluster"

    def __init__(self, cluster: Cluster, settings: ClusterSettings) -> None:
        self._cluster = cluster
        self._settings = settings
        self._settled: dict[str, tuple[Release, int]] = {}
        self._made: dict[tuple[str, str], tuple[Object, Object]] = {}
        self._changes = Changes(cluster, DEPLOYMENT, JOB, POD)

    async def run(self) -> None:
        """Watch the cluster until stopped, and mend what others change or delete of models that are rolled out."""
        async with asyncio.TaskGroup() as group:
            mending = group.create_task(self._mend())
            await self._changes.run()
            await cancelled(mending)

    def stop(self) -> None:
        """Watch no more."""
        self._changes.stop()

    async def owned(self) -> set[str]:
        """The models of which anything is there.

        Raises:
            FramemeshError: The cluster can't be asked.
        """
        return {
            found["metadata"]["labels"][marks.MODEL_LABEL]
            for kind in OWNED
            for found in await self._cluster.owned(kind)
        }

    async def prepare(self, spec: ModelSpec, tell: Tell) -> Release:
        """Have the model in the lake, ready to be served; its Job stays until it serves.

        Raises:
            ConfigurationError: It can't be served so, or not in this cluster: what somebody has to mend.
            FramemeshError: Not now: trying again may help.
        """
        objects.check(spec)
        wanted = objects.job(self._settings, spec, worker.arguments(spec, cache=objects.CACHE))

        async def look(job: Object) -> Release | None:
            return await self._look(spec, job, tell)

        return await done(self._cluster, self._changes, wanted, look)

    async def roll_out(self, release: Release, replicas: int, tell: Tell) -> None:
        """Have so many servers of this release and, once they all are available, none of another.

        Raises:
            ConfigurationError: They don't become ready, or the cluster refuses them: why.
            FramemeshError: Not now: trying again may help.
        """
        model = release.spec.name
        self._settled.pop(model, None)
        while True:
            change = self._changes.next
            there = await self._there(model)
            here = there.get((DEPLOYMENT.name, marks.server_name(model)))
            if (SCALER.name, marks.server_name(model)) in there and not objects.is_scaled(self._settings, replicas):
                await self._cluster.delete(SCALER, marks.server_name(model))  # first: it would undo what is applied
            if await self._match(release, replicas, there) and here is not None:
                if states.is_complete(here):
                    break
                pods = await self._servers(release)
                trouble = reasons.trouble(pods) or states.message(here, "ReplicaFailure")  # pods that it may not have
                if states.is_late(here) or reasons.is_final(pods):
                    seconds = self._settings.start_seconds
                    raise ConfigurationError(trouble or f"its servers were not ready within {seconds} s", model=model)
                ready = sum(states.holds(pod, "Ready") for pod in pods)
                tell(Phase.DEPLOYMENT_PHASE_ROLLING_OUT, ready / max(1, replicas), trouble)
            await self._changes.after(change)
        for kind, name in there:
            if kind == JOB.name:
                await self._cluster.delete(JOB, name)
        self._settled[model] = release, replicas

    async def answers(self, model: str) -> bool:
        """Whether any server of the model is available.

        Raises:
            FramemeshError: The cluster can't be asked.
        """
        return any(map(states.answers, await self._cluster.owned(DEPLOYMENT, model)))

    async def remove(self, model: str) -> None:
        """Have nothing of the model; what it has in the lake stays.

        Raises:
            FramemeshError: Not now: trying again may help.
        """
        self._settled.pop(model, None)
        while True:
            change = self._changes.next
            there = await self._there(model)
            if not there and not await self._is_exported(model):
                return
            for (kind, name), found in there.items():
                if "deletionTimestamp" not in found["metadata"]:
                    await self._cluster.delete(_KINDS[kind], name)
            await self._changes.after(change)

    async def _mend(self) -> None:
        while True:
            await asyncio.sleep(jittered(_MEND_SECONDS))
            for model, (release, replicas) in list(self._settled.items()):
                try:
                    there = await self._there(model)
                    if model in self._settled:  # or it is being changed by now
                        await self._match(release, replicas, there)
                except FramemeshError as error:
                    log.warning("model.not_mended", model=model, error=str(error))

    async def _there(self, model: str) -> dict[tuple[str, str], Object]:
        """The model's objects by kind and name, in the order in which they are to go."""
        return {
            (kind.name, found["metadata"]["name"]): found
            for kind in OWNED
            for found in await self._cluster.owned(kind, model)
        }

    async def _is_exported(self, model: str) -> bool:
        """Whether an exporter may still write into the lake, be it that it is to end."""
        pods = await self._cluster.owned(POD, model)
        return any(pod["metadata"]["labels"][marks.NAME_LABEL] == marks.EXPORTER for pod in pods)

    async def _servers(self, release: Release) -> list[Object]:
        return await pods_of(self._cluster, release.spec.name, marks.SERVER, marks.release_id(release))

    async def _look(self, spec: ModelSpec, job: Object, tell: Tell) -> Release | None:
        """What a Job has made, once it has; else tell how far it is."""
        pods = await pods_of(self._cluster, spec.name, marks.EXPORTER, marks.version(spec))
        if states.holds(job, "Failed"):
            raise self._failed(job, pods)
        lines = await self._cluster.last_lines(pods[-1]["metadata"]["name"]) if pods else []
        if states.holds(job, "Complete"):
            for line in reversed(lines):
                if (release := worker.read_release(spec, line.encode())) is not None:
                    return release
            # Its log is gone, with its node perhaps. Another finds the model in the lake, and says where.
            await self._cluster.delete(JOB, job["metadata"]["name"])
            return None
        steps = [step for line in lines if (step := worker.read_step(line.encode())) is not None]
        step = steps[-1] if steps else worker.Step(Phase.DEPLOYMENT_PHASE_PENDING, 0.0)
        tell(step.phase, step.progress, reasons.trouble(pods[-1:]))
        return None

    def _failed(self, job: Object, pods: list[Object]) -> FramemeshError:
        model = job["metadata"]["labels"][marks.MODEL_LABEL]
        trouble = reasons.trouble(pods[-1:])
        why = states.reason(job, "Failed")
        if why == "DeadlineExceeded":
            seconds = self._settings.export_seconds
            late = f"preparing it took longer than {seconds} s: give it more with FRAMEMESH_EXPORT_SECONDS"
            return ConfigurationError(f"{late}; {trouble}" if trouble else late, model=model)
        if why == "PodFailurePolicy":
            return ConfigurationError(trouble or "preparing it failed, and its pod is gone", model=model)
        return ModelUnavailableError(trouble or "preparing it failed, and its pod is gone", model=model)

    async def _match(self, release: Release, replicas: int, there: Mapping[tuple[str, str], Object]) -> bool:
        """Bring the objects to what they should be; whether they were."""
        model = release.spec.name
        here = there.get((DEPLOYMENT.name, marks.server_name(model)))
        running = here["spec"]["replicas"] if here else replicas
        allowed = objects.allowed_replicas(self._settings, replicas, running)
        wanted = [
            objects.deployment(self._settings, release, replicas=allowed),
            *objects.around(self._settings, model, replicas=replicas),
        ]
        matched = True
        for made in map(states.stamped, wanted):
            known = there.get((made["kind"], made["metadata"]["name"]))
            if known is not None and "deletionTimestamp" in known["metadata"]:
                matched = False  # once it is gone it is made anew
            elif known is None or not self._is_as(made, known):
                answer = await self._cluster.apply(made, known)
                self._made[made["kind"], made["metadata"]["name"]] = made, answer["spec"]
                matched = False
        return matched

    def _is_as(self, wanted: Object, there: Object) -> bool:
        """Whether an object is as it should be, or as the cluster makes it of that.

        It writes `0.5` as `500m`, and its admission webhooks may know better, too.
        """
        made = self._made.get((wanted["kind"], wanted["metadata"]["name"]))
        return states.within(wanted, there) or made == (wanted, there["spec"])


_KINDS: dict[str, Kind] = {kind.name: kind for kind in OWNED}
