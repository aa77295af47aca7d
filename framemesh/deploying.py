"""What becomes of a wish for a model, as those who wait for it see it. Pure."""

from collections.abc import Sequence

from framemesh.errors import ModelNotFoundError
from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from framemesh.v1.model_pb2 import Model

FAILED = frozenset({Phase.DEPLOYMENT_PHASE_FAILED, Phase.DEPLOYMENT_PHASE_ROLLED_BACK})


def settled(model: Model, generation: int) -> bool:
    """Whether a wish of that generation, or of a later one, is fulfilled or has failed."""
    status = model.status
    return status.generation >= generation and status.phase in {Phase.DEPLOYMENT_PHASE_READY, *FAILED}


class Awaited:
    """A model that somebody waits for.

    Args:
        name: Its name.
        generation: Of the wish, or of one before it.
    """

    def __init__(self, name: str, generation: int) -> None:
        self._name = name
        self._generation = generation
        self._seen = False

    def among(self, models: Sequence[Model]) -> Model | None:
        """The model as it is now; none where the gateway has not heard of the wish yet.

        Raises:
            ModelNotFoundError: It was there, and is no more.
        """
        found = next((model for model in models if model.spec.name == self._name), None)
        if found is None and self._seen:
            raise ModelNotFoundError(f"model {self._name!r} was deleted meanwhile", model=self._name)
        if found is None or found.generation < self._generation:
            return None
        self._seen = True
        return found
