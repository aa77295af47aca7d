"""What becomes of a wish for a model, as those who wait for it see it. Pure."""

from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from framemesh.v1.model_pb2 import Model

FAILED = frozenset({Phase.DEPLOYMENT_PHASE_FAILED, Phase.DEPLOYMENT_PHASE_ROLLED_BACK})


def settled(model: Model, generation: int) -> bool:
    """Whether a wish of that generation, or of a later one, is fulfilled or has failed."""
    status = model.status
    return status.generation >= generation and status.phase in {Phase.DEPLOYMENT_PHASE_READY, *FAILED}
