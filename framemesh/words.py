"""Answers and states in words, for tables."""

from collections.abc import Iterable

from framemesh.v1.answer_pb2 import KeypointInstance, Label, ModelAnswer
from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from framemesh.v1.model_pb2 import Model, ModelReplica, ModelSpec, ReplicaState, Runtime

_NOTHING = ("nothing", "")
_VERSION_DIGITS = 12


def words(answer: ModelAnswer) -> list[tuple[str, str]]:
    """What a model says, line by line, each with its score as text (empty where there is none)."""
    if answer.HasField("error"):
        return [(printable(f"{answer.error.reason}: {answer.error.message}"), "")]
    said = answer.answer
    match said.WhichOneof("answer"):
        case "classification":
            lines = _labels(said.classification.labels)
        case "detection":
            lines = _labels(found.label for found in said.detection.objects)
        case "segmentation":
            lines = _labels(segment.label for segment in said.segmentation.segments)
        case "depth":
            lines = [(f"{said.depth.minimum:.4g} to {said.depth.maximum:.4g}", "")]
        case "embedding":
            lines = [(f"{len(said.embedding.values):,} values", "")]
        case "text":
            lines = [(said.text.text, "")] if said.text.text else []
        case "keypoints":
            lines = [_points(instance) for instance in said.keypoints.instances]
        case kind:  # of a newer server
            lines = [(str(kind), "")]
    return [(printable(what), score) for what, score in lines] or [_NOTHING]


def printable(text: str) -> str:
    """A text that somebody else wrote, safe on a terminal: what isn't printable as its escape."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _labels(labels: Iterable[Label]) -> list[tuple[str, str]]:
    return [(label.name, f"{label.score:.3f}") for label in labels]


def _points(instance: KeypointInstance) -> tuple[str, str]:
    """How many points an instance has, with their mean score."""
    scores = [point.label.score for point in instance.points]
    return (f"{len(scores):,} points", f"{sum(scores) / len(scores):.3f}") if scores else _NOTHING


def short_version(version: str) -> str:
    """The first twelve digits of a commit or digest of weights, which tell them from others."""
    return printable(version.removeprefix("sha256-")[:_VERSION_DIGITS])


def called(spec: ModelSpec) -> str:
    """A model's name, with what tells it from those that answer people."""
    return f"{spec.name} (shadow)" if spec.shadow else spec.name


def serving(model: Model) -> list[ModelReplica]:
    """Those of a model's servers that answer."""
    return [replica for replica in model.replicas if replica.state == ReplicaState.REPLICA_STATE_SERVING]


def serving_count(model: Model) -> int:
    """How many of a model's servers answer."""
    return len(serving(model))


def torch_stands_in(model: Model) -> bool:
    """Whether torch answers for it until its first version is made."""
    if model.spec.runtime == Runtime.RUNTIME_TORCH or model.status.HasField("serving"):
        return False
    return {one.runtime for one in serving(model)} == {Runtime.RUNTIME_TORCH}


def state(model: Model) -> str:
    """A model's state in a few words, such as `ready 2/2`, `downloading 40 %` or `failed: no such model`."""
    return _state(model, model.status.message)


def state_beside_problems(model: Model) -> str:
    """The same where the mesh's problems stand beside it: of one that lacks servers they have the reason."""
    return _state(model, model.status.message if serving_count(model) >= model.spec.replicas else "")


def _state(model: Model, reason: str) -> str:
    states = [replica.state for replica in model.replicas]
    count = serving_count(model)
    ready = f"{'ready' if count or not model.spec.replicas else 'starting'} {count}/{model.spec.replicas}"
    status = model.status
    match status.phase:
        case _ if not model.HasField("status"):  # whoever runs its servers says nothing of them
            if count or not states:
                return ready
            return ReplicaState.Name(max(states)).removeprefix("REPLICA_STATE_").lower()
        case Phase.DEPLOYMENT_PHASE_READY:
            return ready
        case Phase.DEPLOYMENT_PHASE_STARTING:
            doing = ready
        case _:
            doing = Phase.Name(status.phase).removeprefix("DEPLOYMENT_PHASE_").lower().replace("_", " ")
            if status.progress:
                doing += f" {status.progress:.0%}".replace("%", " %")
            if count:
                doing = f"{ready} by torch, {doing}" if torch_stands_in(model) else f"{ready}, {doing}"
    return f"{doing}: {printable(' '.join(reason.split()))}" if reason else doing


def span(seconds: float) -> str:
    """A span of time in the unit that people would use."""
    if seconds < 10:
        return f"{seconds * 1000:.0f} ms"
    for unit, length in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < 200 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds / 86_400:,.0f} days"


def size(size_bytes: int) -> str:
    """A number of bytes in the unit that people would use."""
    number, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < 1024:
            break
        number, unit = number / 1024, larger
    return f"{number:,.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"
