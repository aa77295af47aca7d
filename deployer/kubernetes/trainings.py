"""Trainings as Kubernetes Jobs."""

from deployer import trainer
from deployer.kubernetes import marks, reasons, states, training
from deployer.kubernetes.api import JOB, POD, Cluster
from deployer.kubernetes.changes import Changes, done, pods_of
from deployer.kubernetes.objects import Object
from deployer.kubernetes.settings import ClusterSettings
from deployer.trainings import Tell
from framemesh.errors import ConfigurationError
from framemesh.v1.training_pb2 import TrainingResult, TrainingSpec


class KubernetesTrainings:
    """The backend of a cluster.

    Args:
        cluster: Where the objects are that carry the mark of trainings.
        settings: How trainings run there.

    Attributes:
        changes: Run it beside what uses this: it notices what changes there.
    """

    def __init__(self, cluster: Cluster, settings: ClusterSettings) -> None:
        self._cluster = cluster
        self._settings = settings
        self.changes = Changes(cluster, JOB, POD)

    async def owned(self) -> set[str]:
        """As `TrainingBackend` says."""
        return {found["metadata"]["labels"][marks.MODEL_LABEL] for found in await self._cluster.owned(JOB)}

    async def train(self, spec: TrainingSpec, tell: Tell) -> TrainingResult:
        """As `TrainingBackend` says; the Job and its log stay for a day."""
        wanted = training.job(self._settings, spec)
        await self._until_left(spec.name, tell)

        async def look(job: Object) -> TrainingResult | None:
            return await self._look(spec.name, job, tell)

        return await done(self._cluster, self.changes, wanted, look)

    async def stop(self, name: str) -> None:
        """As `TrainingBackend` says."""
        while True:
            change = self.changes.next
            jobs = await self._cluster.owned(JOB, name)
            if not jobs and not await self._cluster.owned(POD, name):  # a pod has its time to write a checkpoint
                return
            for job in jobs:
                if "deletionTimestamp" not in job["metadata"]:
                    await self._cluster.delete(JOB, job["metadata"]["name"])
            await self.changes.after(change)

    async def _until_left(self, name: str, tell: Tell) -> None:
        """Wait for pods that were told to end: two that write the checkpoints of one run would spoil them."""
        while True:
            change = self.changes.next
            if not any("deletionTimestamp" in pod["metadata"] for pod in await self._cluster.owned(POD, name)):
                return
            tell((), "waits for the pod before it to leave a checkpoint")
            await self.changes.after(change)

    async def _look(self, name: str, job: Object, tell: Tell) -> TrainingResult | None:
        """What a Job has made, once it has; else tell how far it is."""
        pods = await pods_of(self._cluster, name, marks.TRAINER)
        if states.holds(job, "Failed"):
            raise self._failed(job, pods)
        lines = await self._cluster.last_lines(pods[-1]["metadata"]["name"]) if pods else []
        if states.holds(job, "Complete"):
            tell(lines, "")
            if (result := trainer.read_result(lines)) is not None:
                return result
            # Its log is gone, with its node perhaps. Another finds the model in the lake, and says where.
            await self._cluster.delete(JOB, job["metadata"]["name"])
            return None
        tell(lines, reasons.trouble(pods[-1:]))
        return None

    def _failed(self, job: Object, pods: list[Object]) -> ConfigurationError:
        trouble = reasons.trouble(pods[-1:]) or "training failed, and its pod is gone"
        match states.reason(job, "Failed"):
            case "DeadlineExceeded":
                seconds = self._settings.train_seconds
                words = f"it took longer than {seconds} s: give it more with FRAMEMESH_TRAIN_SECONDS; {trouble}"
            case "BackoffLimitExceeded":
                words = f"given up after {job['spec']['backoffLimit']} more tries: {trouble}"
            case _:
                words = trouble
        return ConfigurationError(f"{words}; started again it goes on from its last checkpoint")
