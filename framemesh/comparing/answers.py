"""Answers as the table of results has them, and which task they are of. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from framemesh.comparing.comparison import Task
from framemesh.v1.answer_pb2 import Answer

COLUMNS = ("label", "score", "labels", "text", "embedding", "answer")
"""Columns of `results` that an answer is made of, in the order of the fields of `Said`."""

_LONGEST = 80


@dataclass(frozen=True, slots=True)
class Said:
    """One answer.

    Attributes:
        label: Its surest class; none where nothing is named.
        score: That class's score.
        labels: All that is named, as the table has it.
        text: What an image-to-text model wrote.
        embedding: The feature vector.
        answer: The whole answer, where the others don't hold it.
    """

    label: str | None
    score: float | None
    labels: Sequence[Mapping[str, Any]]
    text: str | None
    embedding: Sequence[float] | None
    answer: bytes | None

    @property
    def whole(self) -> Answer:
        """The answer as the model gave it, where the table keeps it so."""
        return Answer.FromString(self.answer or b"")


def task_of(said: Said) -> Task | None:
    """What kind of answer it is; none where it names nothing, which a classifier and a detector both may."""
    if said.text is not None:
        return Task.TEXT
    if said.embedding is not None:
        return Task.EMBEDDING
    if said.answer is not None:
        return Task(said.whole.WhichOneof("answer") or "")
    if said.labels:
        return Task.CLASSIFICATION if said.labels[0]["x_min_px"] is None else Task.DETECTION
    return None


@lru_cache(maxsize=65_536)
def name_of(label: str) -> str:
    """What two models' names for one class have in common: not case, not underscores, not their numbers for it."""
    return " ".join(label.replace("_", " ").casefold().split())


def in_words(said: Said, task: Task, *, min_score: float = 0.0) -> str:
    """An answer in a line, without the objects of a lower score."""
    match task:
        case Task.TEXT:
            words = said.text or ""
        case Task.EMBEDDING:
            words = f"{len(said.embedding or ()):,} values"
        case Task.DEPTH:
            depth = said.whole.depth
            words = f"{depth.minimum:.4g} to {depth.maximum:.4g}"
        case Task.KEYPOINTS:
            instances = said.whole.keypoints.instances
            words = f"{sum(len(one.points) for one in instances):,} points of {len(instances):,}"
        case Task.CLASSIFICATION:
            words = said.label or ""
        case Task.DETECTION | Task.SEGMENTATION:
            counts: dict[str, int] = {}
            for seen in said.labels:
                if task is Task.SEGMENTATION or seen["score"] >= min_score:
                    counts[seen["name"]] = counts.get(seen["name"], 0) + 1
            words = ", ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items())
    words = " ".join(words.split()) or "nothing"
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."
