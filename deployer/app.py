"""The composition root: opens what the deployer owns, in order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from deployer.kubernetes.api import connected
from deployer.kubernetes.backend import KubernetesModels
from deployer.ledger import Ledger
from deployer.local import LocalBackend
from deployer.metrics import DeployerMetrics
from deployer.reconciling import Backend, Parts, Reconciler
from deployer.settings import DeployerSettings
from framemesh.bus import Bus, connect
from framemesh.bus.loglines import LogLines
from framemesh.bus.presence import Presence
from framemesh.service import running
from framemesh.telemetry.page import new_registry, serving_page


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
        ledger = Ledger(bus)
        await ledger.open()
        backend = await stack.enter_async_context(_backend(settings, bus))
        reconciler = Reconciler(bus, Parts(backend, ledger, settings, DeployerMetrics(registry)))
        components = (bus, Presence(bus, "deployer"), LogLines(bus), ledger, reconciler)
        await stack.enter_async_context(running(*components, drain_seconds=settings.drain_seconds))
        yield port


@asynccontextmanager
async def _backend(settings: DeployerSettings, bus: Bus) -> AsyncIterator[Backend]:
    if settings.deployer_backend == "local":
        async with LocalBackend(bus, settings.data_dir) as local:
            yield local
        return
    async with connected(settings.namespace) as cluster:
        models = KubernetesModels(cluster, settings)
        async with running(models, drain_seconds=settings.drain_seconds):
            yield models
