"""From the trainings that are wanted to models in the lake: the steps of every backend, and what is told of them.

All that must outlive the deployer is in the ledger, with the backend, and as checkpoints in the lake: where a deployer
is killed the next one finds its training, or starts it again where it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog

from deployer import trainer
from deployer.ledger import Ledger
from deployer.metrics import DeployerMetrics
from deployer.pursuing import Pursuer, Pursuit, Wish
from framemesh.bus import Bus, encoding
from framemesh.bus.streams import TRAININGS_BUCKET
from framemesh.errors import ConfigurationError, FramemeshError, InternalError, InvalidSpecError
from framemesh.trainings import ENDED, check
from framemesh.v1.training_pb2 import TrainingPhase as Phase
from framemesh.v1.training_pb2 import TrainingResult, TrainingSpec, TrainingStatus

log = structlog.get_logger()

_AGAIN_SECONDS = (1.0, 60.0)
"""First and longest wait after what may mend itself, such as a lake that does not answer."""

_STATES = {
    Phase.TRAINING_PHASE_PENDING: "waiting",
    Phase.TRAINING_PHASE_READING: "running",
    Phase.TRAINING_PHASE_TRAINING: "running",
    Phase.TRAINING_PHASE_TESTING: "running",
    Phase.TRAINING_PHASE_EXPORTING: "running",
    Phase.TRAINING_PHASE_STOPPING: "running",
    Phase.TRAINING_PHASE_STOPPED: "stopped",
    Phase.TRAINING_PHASE_SUCCEEDED: "succeeded",
    Phase.TRAINING_PHASE_FAILED: "failed",
}
"""As the metrics count them."""

Tell = Callable[[Sequence[str], str], None]
"""Takes lines that the trainer wrote, maybe again, and what keeps it from working, in words."""


class TrainingBackend(Protocol):
    """What trains.

    A call says what should be, whatever is there, of this deployer's or of one that was killed; one that is cancelled
    leaves things as they are, and the next call says what should be. Calls for one name come one after the other.
    """

    async def owned(self) -> set[str]:
        """The names of which anything is there."""

    async def train(self, spec: TrainingSpec, tell: Tell) -> TrainingResult:
        """Have the model in the lake, and no other training of its name.

        Raises:
            ConfigurationError: It can't be trained so: what somebody has to mend.
            InternalError: The trainer has a fault.
            FramemeshError: Not now: trying again may help.
        """

    async def stop(self, name: str) -> None:
        """Have no training of this name, and its checkpoint in the lake.

        Raises:
            FramemeshError: Not now: trying again may help.
        """


@dataclass(frozen=True, slots=True)
class TrainingParts:
    """What all trainings share.

    Attributes:
        backend: What trains.
        ledger: Where it is told how far that is; opened already.
        metrics: Show how many are how far.
    """

    backend: TrainingBackend
    ledger: Ledger[TrainingStatus]
    metrics: DeployerMetrics


class Trainings(Pursuer[TrainingSpec]):
    """Follows which trainings are wanted.

    Args:
        bus: Where the desired state is.
        parts: What all trainings share.
    """

    name = "trainings"

    def __init__(self, bus: Bus, parts: TrainingParts) -> None:
        super().__init__(bus, TRAININGS_BUCKET)
        self._parts = parts
        for state in dict.fromkeys(_STATES.values()):
            parts.metrics.trainings.labels(state).set_function(partial(self._count, state))

    async def _known(self) -> set[str]:
        return await self._parts.backend.owned() | self._parts.ledger.models()

    def _load(self, name: str, value: bytes) -> TrainingSpec:
        spec = encoding.load(value, TrainingSpec())
        if spec is None or spec.name != name:
            raise InvalidSpecError(f"the entry {name!r} is no training of that name")
        try:
            check(spec)
        except FramemeshError as error:
            raise InvalidSpecError(str(error)) from error
        return spec

    def _pursuit(self, name: str, wish: Wish[TrainingSpec] | None) -> "_Training":
        return _Training(name, wish, self._parts)

    def _count(self, state: str) -> int:
        ledger = self._parts.ledger
        return sum(_STATES.get(ledger.get(name).phase) == state for name in ledger.models())


class _Training(Pursuit[TrainingSpec]):
    """One training."""

    def __init__(self, name: str, wish: Wish[TrainingSpec] | None, parts: TrainingParts) -> None:
        super().__init__(name, wish)
        self._backend = parts.backend
        self._ledger = parts.ledger

    async def _try(self, wish: Wish[TrainingSpec] | None) -> float | None:
        try:
            if wish is None:
                await self._backend.stop(self.name)
                self._ledger.forget(self.name)
            elif wish.spec.stopped:
                await self._stop(wish)
            elif not self._is_told(wish):
                await self._train(wish)
        except (ConfigurationError, InternalError) as error:
            self._end(wish, Phase.TRAINING_PHASE_FAILED, str(error))
        except FramemeshError as error:
            return self._put_off(wish, str(error))
        except Exception:  # or this training would never be looked after again
            log.exception("training.fault", training=self.name)
            return self._put_off(wish, "the deployer failed in a way it didn't foresee; its log says how")
        return None

    async def _stop(self, wish: Wish[TrainingSpec]) -> None:
        status = self._ledger.get(self.name)
        if status.phase in ENDED:  # it was quicker
            status.generation = wish.generation
            self._ledger.put(self.name, status)
        else:
            self._tell(wish, Phase.TRAINING_PHASE_STOPPING)
            await self._backend.stop(self.name)
            self._end(wish, Phase.TRAINING_PHASE_STOPPED, "")

    async def _train(self, wish: Wish[TrainingSpec]) -> None:
        if self._ledger.get(self.name).generation != wish.generation:  # what was told is of another training
            self._ledger.put(self.name, TrainingStatus(generation=wish.generation))
        self._tell(wish, Phase.TRAINING_PHASE_PENDING)

        def tell(lines: Sequence[str], message: str) -> None:
            status = self._ledger.get(self.name)
            trainer.note(status, lines)
            status.message = message
            if status != self._ledger.get(self.name):
                self._ledger.put(self.name, status)

        result = await self._backend.train(wish.spec, tell)
        status = self._ledger.get(self.name)
        status.result.CopyFrom(result)
        self._ledger.put(self.name, status)
        self._end(wish, Phase.TRAINING_PHASE_SUCCEEDED, "")

    def _is_told(self, wish: Wish[TrainingSpec]) -> bool:
        """Whether it is known already how this wish has ended."""
        status = self._ledger.get(self.name)
        return status.generation == wish.generation and status.phase in ENDED

    def _put_off(self, wish: Wish[TrainingSpec] | None, why: str) -> float:
        again_seconds = self._again(_AGAIN_SECONDS)
        log.warning("training.put_off", training=self.name, error=why, again_seconds=again_seconds)
        if wish is not None:
            self._tell(wish, Phase.TRAINING_PHASE_PENDING, why)
        return again_seconds

    def _end(self, wish: Wish[TrainingSpec] | None, phase: Phase.ValueType, message: str) -> None:
        log.info("training.ended", training=self.name, phase=Phase.Name(phase), message=message)
        if wish is not None:
            self._tell(wish, phase, message)

    def _tell(self, wish: Wish[TrainingSpec], phase: Phase.ValueType, message: str = "") -> None:
        """Tell it, with what is known of the run."""
        status = self._ledger.get(self.name)
        status.phase, status.message = phase, message
        status.progress = 1.0 if phase == Phase.TRAINING_PHASE_SUCCEEDED else 0.0
        status.generation = wish.generation
        self._ledger.put(self.name, status)
