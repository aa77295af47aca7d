"""How far two answers to the same frame agree, and in what. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from framemesh.comparing import pixels
from framemesh.comparing.answers import Said, name_of
from framemesh.comparing.boxes import Seen, matched
from framemesh.comparing.comparison import Task
from framemesh.errors import InvalidRequestError

ALIKE = 0.95
"""From here on answers that are alike by degrees count as agreeing."""


class Named(NamedTuple):
    """What each side calls the same thing; an empty name where it sees none."""

    a: str
    b: str
    score_a: float | None = None
    score_b: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Two answers beside each other.

    Attributes:
        agrees: Whether both say the same, by the task's rule.
        likeness: How alike they are, from 0 to 1.
        surprise: How much a person learns from looking at it; the greater the more.
        named: What each calls each thing that either sees.
        parts: What it adds to the task's measures: how much, out of how much.
    """

    agrees: bool
    likeness: float
    surprise: float
    named: Sequence[Named] = ()
    parts: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Gauge(NamedTuple):
    """A measure in words, and whether it counts things one by one: then it is a share."""

    meaning: str
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Judge:
    """How answers of a task are compared.

    Attributes:
        rule: When they agree, in words.
        measures: Its measures by name.
        judge: What is said of two answers.
    """

    rule: str
    measures: Mapping[str, Gauge]
    judge: Callable[[Said, Said], Judgement]


def judge_of(task: Task, *, min_score: float) -> Judge:
    """The judge of a task; objects below a score are as if they weren't there."""
    if task is Task.DETECTION:
        return Judge(
            "the same objects: each has one of its class that overlaps it by half, and none is left over",
            {
                "precision": Gauge("share of A's objects that B sees too", counts=True),
                "recall": Gauge("share of B's objects that A sees too", counts=True),
                "overlap": Gauge("mean IoU of the objects that both see"),
            },
            lambda a, b: _detection(a, b, min_score),
        )
    return _JUDGES[task]


def _classification(a: Said, b: Said) -> Judgement:
    name_a, name_b = name_of(a.label or ""), name_of(b.label or "")
    same = name_a == name_b
    score_a, score_b = a.score or 0.0, b.score or 0.0
    among = _is_among(name_a, b) + _is_among(name_b, a)
    parts = {"in the best": (among / 2, 1.0)} | ({"score difference": (abs(score_a - score_b), 1.0)} if same else {})
    named = (Named(name_a, name_b, a.score, b.score),) if name_a or name_b else ()
    return Judgement(same, float(same), min(score_a, score_b), named, parts)


def _is_among(name: str, said: Said) -> bool:
    return any(name_of(label["name"]) == name for label in said.labels) or not (name or said.labels)


def _detection(a: Said, b: Said, min_score: float) -> Judgement:
    ours = [seen for seen in a.labels if seen["score"] >= min_score]
    theirs = [seen for seen in b.labels if seen["score"] >= min_score]
    found = matched(ours, theirs)
    same = [pair for pair in found if pair.same]
    named, surprise = [], 0.0
    for pair in found:
        name_a, score_a = _named(ours, pair.a)
        name_b, score_b = _named(theirs, pair.b)
        named.append(Named(name_a, name_b, score_a, score_b))
        if not pair.same:
            surprise += max(score_a or 0.0, score_b or 0.0)
    parts = {
        "precision": (len(same), len(ours)),
        "recall": (len(same), len(theirs)),
        "overlap": (sum(pair.overlap for pair in same), len(same)),
    }
    likeness = len(same) / len(found) if found else 1.0
    return Judgement(len(same) == len(found), likeness, surprise, named, parts)


def _named(seen: Sequence[Seen], place: int | None) -> tuple[str, float | None]:
    return ("", None) if place is None else (name_of(seen[place]["name"]), float(seen[place]["score"]))


def _segmentation(a: Said, b: Said) -> Judgement:
    alike = pixels.classes_alike(a.whole.segmentation, b.whole.segmentation)
    named = [Named(name if name in alike.a else "", name if name in alike.b else "") for name in alike.a | alike.b]
    parts = {"pixels": (alike.pixels, 1.0), "mean IoU": (alike.mean_iou, 1.0)}
    return _by_degrees(alike.pixels, named, parts)


def _depth(a: Said, b: Said) -> Judgement:
    correlation = pixels.depths_alike(a.whole.depth, b.whole.depth)
    return _by_degrees(correlation, (), {"correlation": (correlation, 1.0)})


def _embedding(a: Said, b: Said) -> Judgement:
    one, other = np.asarray(a.embedding, np.float64), np.asarray(b.embedding, np.float64)
    if one.shape != other.shape:
        raise InvalidRequestError(
            f"A's vectors have {one.size:,} values and B's {other.size:,}: they lie in different spaces, where no "
            "distance between them says anything; compare runtimes or precisions of one model"
        )
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    cosine = float(one @ other) / lengths if lengths else float((one == other).all())
    return _by_degrees(cosine, (), {"cosine": (cosine, 1.0)})


def _text(a: Said, b: Said) -> Judgement:
    one, other = (Counter(name_of(said.text or "").split()) for said in (a, b))
    both, every = (one & other).total(), one.total() + other.total()
    shared = 2 * both / every if every else 1.0
    same = name_of(a.text or "") == name_of(b.text or "")
    return Judgement(same, shared, 1 - shared, (), {"words": (shared, 1.0)})


def _keypoints(a: Said, b: Said) -> Judgement:
    shared = pixels.points_alike(a.whole.keypoints, b.whole.keypoints)
    return _by_degrees(shared, (), {"points": (shared, 1.0)})


def _by_degrees(likeness: float, named: Sequence[Named], parts: Mapping[str, tuple[float, float]]) -> Judgement:
    return Judgement(likeness >= ALIKE, max(0.0, likeness), 1 - likeness, named, parts)


_JUDGES = {
    Task.CLASSIFICATION: Judge(
        "the same best class",
        {
            "in the best": Gauge("how often one's best class is among those that the other names"),
            "score difference": Gauge("mean difference of the scores, where the class is the same"),
        },
        _classification,
    ),
    Task.SEGMENTATION: Judge(
        f"the same class on at least {ALIKE:.0%} of the pixels",
        {
            "pixels": Gauge("share of pixels with the same class"),
            "mean IoU": Gauge("overlap of each class's pixels, averaged over a frame's classes, then over frames"),
        },
        _segmentation,
    ),
    Task.DEPTH: Judge(
        f"depths whose correlation is at least {ALIKE}",
        {"correlation": Gauge("Pearson's, over a frame's pixels: neither scale nor offset counts")},
        _depth,
    ),
    Task.EMBEDDING: Judge(
        f"vectors whose cosine is at least {ALIKE}",
        {"cosine": Gauge("of the angle between the two vectors")},
        _embedding,
    ),
    Task.TEXT: Judge(
        "the same words in the same order", {"words": Gauge("F1 of the words, whatever their order")}, _text
    ),
    Task.KEYPOINTS: Judge(
        f"at least {ALIKE:.0%} of the points in the same places",
        {"points": Gauge("share of points with one of the same name within a hundredth of the way to the farthest")},
        _keypoints,
    ),
}
