"""Answers and states in words, for tables."""

from framemesh.v1.answer_pb2 import ModelAnswer
from framemesh.v1.model_pb2 import Model, ReplicaState


def words(answer: ModelAnswer) -> list[tuple[str, str]]:
    """What a model says, line by line, each with its score as text (empty where there is none)."""
    if answer.HasField("error"):
        return [(f"{answer.error.reason}: {answer.error.message}", "")]
    match answer.answer.WhichOneof("answer"):
        case "classification":
            labels = list(answer.answer.classification.labels)
        case "detection":
            labels = [found.label for found in answer.answer.detection.objects]
        case kind:
            return [(str(kind), "")]
    return [(label.name, f"{label.score:.3f}") for label in labels] or [("nothing", "")]


def state(model: Model) -> str:
    """A model's state in a word or two, such as `ready 2/2` or `preparing`."""
    states = [replica.state for replica in model.replicas]
    serving = states.count(ReplicaState.REPLICA_STATE_SERVING)
    if serving or not states:
        return f"{'ready' if serving else 'starting'} {serving}/{model.spec.replicas}"
    return ReplicaState.Name(max(states)).removeprefix("REPLICA_STATE_").lower()
