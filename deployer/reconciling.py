"""From the models that are wanted to servers that answer: the steps that every backend takes, and what is told of them.

A model is prepared once, by a worker that downloads, exports and uploads it; its servers load what is in the lake. A
new version's servers start beside those that answer, which end once it is ready. One that doesn't become ready is
rolled back. All that must outlive the deployer is in the ledger and with the backend, so where a deployer is killed the
next one goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from deployer.ledger import Ledger
from deployer.metrics import DeployerMetrics
from deployer.pursuing import Pursuer, Pursuit, Wish
from deployer.store import clear_unfinished
from framemesh import specs
from framemesh.bus import Bus
from framemesh.bus.streams import MODELS_BUCKET
from framemesh.errors import ConfigurationError, FramemeshError, InternalError
from framemesh.settings import ModelStoreSettings
from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from framemesh.v1.model_pb2 import DeploymentStatus, ModelSpec, Release

log = structlog.get_logger()

_AGAIN_SECONDS = (1.0, 60.0)
"""First and longest wait after what may mend itself, such as a hub that does not answer."""
_REFUSED_AGAIN_SECONDS = (60.0, 3600.0)
"""And after what somebody has to mend, such as a model that does not exist; deploying it anew tries at once."""
_KEPT_VERSIONS = 16

Tell = Callable[[Phase.ValueType, float, str], None]
"""Takes what is being done, how much of it is done (0 to 1; 0 where that isn't known), and what else is to be said."""


class Backend(Protocol):
    """What makes models real.

    A call says what should be, whatever is there, of this deployer's or of one that was killed; one that is cancelled
    leaves things as they are, and the next call says what should be. Calls for one model come one after the other.
    """

    async def owned(self) -> set[str]:
        """The models of which anything is there."""

    async def prepare(self, spec: ModelSpec, tell: Tell) -> Release:
        """Have the model in the lake, ready to be served, and end the worker that did it.

        Raises:
            ConfigurationError: It can't be served so: what somebody has to mend.
            FramemeshError: Not now: trying again may help.
        """

    async def roll_out(self, release: Release, replicas: int, tell: Tell) -> None:
        """Have so many servers of this release and, once they all answer, none of another.

        Raises:
            ConfigurationError: They don't become ready: why.
            FramemeshError: Not now: trying again may help.
        """

    async def answers(self, model: str) -> bool:
        """Whether any server of the model answers, or may yet.

        Raises:
            FramemeshError: Not now: trying again may help.
        """

    async def remove(self, model: str) -> None:
        """Have nothing of the model.

        Raises:
            FramemeshError: Not now: trying again may help.
        """


@dataclass(frozen=True, slots=True)
class Parts:
    """What all deployments share.

    Attributes:
        backend: What makes them real.
        ledger: Where it is told how far that is; opened already.
        store: Where the lake's models are.
        metrics: Counts how they end.
    """

    backend: Backend
    ledger: Ledger[DeploymentStatus]
    store: ModelStoreSettings
    metrics: DeployerMetrics


class Reconciler(Pursuer[ModelSpec]):
    """Follows what is wanted, each model on its own.

    Args:
        bus: Where the desired state is.
        parts: What all deployments share.
    """

    name = "reconciler"

    def __init__(self, bus: Bus, parts: Parts) -> None:
        super().__init__(bus, MODELS_BUCKET)
        self._parts = parts

    async def _known(self) -> set[str]:
        return await self._parts.backend.owned() | self._parts.ledger.models()

    def _load(self, name: str, value: bytes) -> ModelSpec:
        return specs.load(name, value)

    def _pursuit(self, name: str, wish: Wish[ModelSpec] | None) -> "_Deployment":
        return _Deployment(name, wish, self._parts)

    def _forget(self, name: str) -> None:
        self._parts.metrics.failing.remove(name)


class _Deployment(Pursuit[ModelSpec]):
    """One model."""

    def __init__(self, name: str, wish: Wish[ModelSpec] | None, parts: Parts) -> None:
        super().__init__(name, wish)
        self._backend = parts.backend
        self._ledger = parts.ledger
        self._store = parts.store
        self._metrics = parts.metrics
        self._preparing = False
        self._metrics.failing.labels(name)

    def _will_do(self, before: Wish[ModelSpec] | None, wish: Wish[ModelSpec] | None) -> bool:
        same = before is not None and wish is not None and specs.same_version(before.spec, wish.spec)
        return same and self._preparing  # what is prepared will do for both

    async def _try(self, wish: Wish[ModelSpec] | None) -> float | None:
        try:
            if wish is None:
                await self._remove()
            else:
                await self._make(wish)
        except FramemeshError as error:
            if isinstance(error, ConfigurationError) and wish is not None:
                return await self._fail(error, self._wish or wish)
            return self._put_off(error)
        except Exception:  # or this model would never be looked after again
            log.exception("deployment.fault", model=self.name)
            return self._put_off(InternalError("the deployer failed in a way it didn't foresee; its log says how"))
        self._failures = 0
        self._metrics.failing.labels(self.name).set(0)
        return None

    async def _remove(self) -> None:
        await self._backend.remove(self.name)
        await clear_unfinished(self._store, self.name)
        self._ledger.forget(self.name)

    async def _make(self, wish: Wish[ModelSpec]) -> None:
        serving = self._serving()
        release = self._known(wish.spec)
        if release is None:
            await self._restore(serving, wish)
            release = await self._prepare(wish.spec)
            wish = self._wish or wish  # it may have got other replicas meanwhile
        coming = None if serving is not None and specs.same_version(serving.spec, release.spec) else release
        phase = Phase.DEPLOYMENT_PHASE_STARTING if serving is None else Phase.DEPLOYMENT_PHASE_ROLLING_OUT
        await self._backend.roll_out(
            release, wish.spec.replicas, lambda _, progress, message: self._tell(phase, progress, message, coming)
        )
        log.info("deployment.ready", model=self.name, version=release.model_version, replicas=wish.spec.replicas)
        self._metrics.deployments.labels("ready").inc()
        status = DeploymentStatus(phase=Phase.DEPLOYMENT_PHASE_READY, progress=1, serving=release)
        if coming is not None and serving is not None:
            status.previous.append(serving)
        self._put(status, wish.generation)

    async def _prepare(self, spec: ModelSpec) -> Release:
        coming = Release(spec=spec)
        self._tell(Phase.DEPLOYMENT_PHASE_PENDING, 0, "", coming)
        self._preparing = True
        try:
            release = await self._backend.prepare(
                spec, lambda phase, progress, message: self._tell(phase, progress, message, coming)
            )
        finally:
            self._preparing = False
        status = self._ledger.get(self.name)
        status.next.CopyFrom(release)
        self._ledger.put(self.name, status)  # a deployer that follows need not prepare it again
        return release

    async def _restore(self, serving: Release | None, wish: Wish[ModelSpec]) -> None:
        """Where nothing is there, as after the machine's restart: what served before goes on until it is replaced."""
        if serving is None or self.name in await self._backend.owned():
            return
        try:
            await self._backend.roll_out(serving, wish.spec.replicas, lambda *_: None)
        except FramemeshError as error:
            log.warning("deployment.not_restored", model=self.name, error=str(error))

    async def _fail(self, error: ConfigurationError, wish: Wish[ModelSpec]) -> float:
        """Go back to what served before, or else leave what answers, and say why."""
        serving = self._serving()
        log.warning("deployment.failed", model=self.name, error=str(error))
        before = serving is not None and not specs.same_version(serving.spec, wish.spec)
        again_seconds = self._again(_REFUSED_AGAIN_SECONDS)
        try:
            if serving is None:
                if not await self._backend.answers(self.name):
                    await self._backend.remove(self.name)
            elif before:
                await self._backend.roll_out(serving, wish.spec.replicas, lambda *_: None)
        except FramemeshError as worse:
            log.warning("deployment.not_rolled_back", model=self.name, error=str(worse))
        outcome = "rolled_back" if before else "failed"
        self._metrics.deployments.labels(outcome).inc()
        status = self._ledger.get(self.name)
        del status.previous[:]
        status.phase = Phase.Value(f"DEPLOYMENT_PHASE_{outcome.upper()}")
        status.progress, status.message = 0, str(error)
        self._put(status, wish.generation)
        return again_seconds

    def _put_off(self, error: FramemeshError) -> float:
        again_seconds = self._again(_AGAIN_SECONDS)
        log.warning("deployment.put_off", model=self.name, error=str(error), again_seconds=again_seconds)
        if self._wish is not None:
            status = self._ledger.get(self.name)
            self._tell(Phase.DEPLOYMENT_PHASE_PENDING, 0, str(error), status.next if status.HasField("next") else None)
        return again_seconds

    def _again(self, seconds: tuple[float, float]) -> float:
        self._metrics.failing.labels(self.name).set(1)
        return super()._again(seconds)

    def _known(self, spec: ModelSpec) -> Release | None:
        """The release that was prepared for such a wish already."""
        status = self._ledger.get(self.name)
        for release in (status.serving, status.next):
            if release.source and specs.same_version(release.spec, spec):
                return release
        return None

    def _serving(self) -> Release | None:
        status = self._ledger.get(self.name)
        return status.serving if status.HasField("serving") else None

    def _tell(self, phase: Phase.ValueType, progress: float, message: str, coming: Release | None) -> None:
        if self._wish is not None:
            status = DeploymentStatus(
                phase=phase, progress=progress, message=message, serving=self._serving(), next=coming
            )
            self._put(status, self._wish.generation)

    def _put(self, status: DeploymentStatus, generation: int) -> None:
        """Tell it, with the versions that served before those which the status names."""
        status.generation = generation
        earlier = [*status.previous, *self._ledger.get(self.name).previous]
        del status.previous[:]
        status.previous.extend(earlier[:_KEPT_VERSIONS])
        self._ledger.put(self.name, status)
