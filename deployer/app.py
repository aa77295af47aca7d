"""The composition root: opens what the deployer owns, in order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from deployer.kubernetes.api import connected
from deployer.kubernetes.backend import KubernetesModels
from deployer.kubernetes.marks import TRAINING_OWNER
from deployer.kubernetes.trainings import KubernetesTrainings
from deployer.ledger import Ledger
from deployer.local import LocalBackend
from deployer.local_trainings import LocalTrainings
from deployer.metrics import DeployerMetrics
from deployer.reconciling import Backend, Parts, Reconciler
from deployer.settings import DeployerSettings
from deployer.trainings import TrainingBackend, TrainingParts, Trainings
from framemesh.bus import Bus, connect
from framemesh.bus.loglines import LogLines
from framemesh.bus.presence import Presence
from framemesh.bus.streams import DEPLOYMENTS_BUCKET, TRAINING_PROGRESS_BUCKET
from framemesh.service import running
from framemesh.telemetry.page import new_registry, serving_page
from framemesh.v1.model_pb2 import DeploymentStatus
from framemesh.v1.training_pb2 import TrainingStatus


@asynccontextmanager
async def deployer(settings: DeployerSettings) -> AsyncIterator[int]:
    """The whole deployer around the block, which gets the port of `/metrics` and `/healthz`.

    On leaving, local processes end; what runs in a cluster goes on.

    Raises:
        ConfigurationError: The page's address is taken, a folder can't be used, or there is no cluster.
        BusUnavailableError: No NATS server answers.
    """
    registry = new_registry()
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect(settings.nats_url.get_secret_value(), name="deployer"))
        port = await stack.enter_async_context(serving_page(settings.http_address, registry, {"nats": bus.problem}))
        ledger = Ledger(bus, DEPLOYMENTS_BUCKET, DeploymentStatus)
        progress = Ledger(bus, TRAINING_PROGRESS_BUCKET, TrainingStatus)
        await ledger.open()
        await progress.open()
        models, trainer = await stack.enter_async_context(_backends(settings, bus))
        metrics = DeployerMetrics(registry)
        reconciler = Reconciler(bus, Parts(models, ledger, settings, metrics))
        trainings = Trainings(bus, TrainingParts(trainer, progress, metrics))
        components = (bus, Presence(bus, "deployer"), LogLines(bus), ledger, progress, reconciler, trainings)
        await stack.enter_async_context(running(*components, drain_seconds=settings.drain_seconds))
        yield port


@asynccontextmanager
async def _backends(settings: DeployerSettings, bus: Bus) -> AsyncIterator[tuple[Backend, TrainingBackend]]:
    """What makes models real, and what trains."""
    if settings.deployer_backend == "local":
        async with LocalBackend(bus, settings.data_dir) as models, LocalTrainings(settings.data_dir) as trainings:
            yield models, trainings
        return
    async with (
        connected(settings.namespace) as cluster,
        connected(settings.namespace, TRAINING_OWNER) as training_cluster,
    ):
        deployments = KubernetesModels(cluster, settings)
        jobs = KubernetesTrainings(training_cluster, settings)
        async with running(deployments, jobs.changes, drain_seconds=settings.drain_seconds):
            yield deployments, jobs
