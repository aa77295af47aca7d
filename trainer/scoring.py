"""What predictions are worth: accuracy, per-class scores, average precision, and how sure one can be. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framemesh import intervals

_RESAMPLES = 1000
MATCH = 0.5
"""Intersection over union from which on a box counts as found."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """A share, with its interval of 95 % confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How well one class is found.

    Attributes:
        name: The class.
        count: How often the truth has it.
        precision: Share of what was called so that is; None where nothing was called so.
        recall: Share of what is that was called so; None where nothing is.
        average_precision: For boxes, over all scores; None for whole images.
    """

    name: str
    count: int
    precision: float | None
    recall: float | None
    average_precision: float | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model scores on a split.

    Attributes:
        measure: What `overall` is: `accuracy`, or `mAP@0.5`.
        overall: The one number.
        classes: Each class.
        images: How many there were.
    """

    measure: str
    overall: Score
    classes: tuple[ClassScore, ...]
    images: int


@dataclass(frozen=True, slots=True)
class Learnt:
    """What came of a training.

    Attributes:
        scores: Of the best checkpoint, on the test split.
        epochs: How many it took.
        best_epoch: After which of them it was best.
    """

    scores: Scores
    epochs: float
    best_epoch: float


@dataclass(frozen=True, slots=True)
class Boxes:
    """The boxes of one image.

    Attributes:
        corners: Left, top, right and bottom, in any one unit, as (n, 4).
        classes: Number of each one's class.
        scores: How sure each is; ones where they are the truth.
    """

    corners: Floats
    classes: NDArray[np.int64]
    scores: Floats


def wilson(successes: int, trials: int) -> Score:
    """A share with Wilson's interval, which holds for few trials and near 0 and 1 too; of none, all is possible."""
    if not trials:
        return Score(0.0, 0.0, 1.0)
    share = successes / trials
    return Score(share, *intervals.wilson(share, trials))


def classification(truth: Sequence[int], predicted: Sequence[int], names: Sequence[str]) -> Scores:
    """The scores of whole images' classes, given by number."""
    wanted, found = np.asarray(truth), np.asarray(predicted)
    classes = []
    for number, name in enumerate(names):
        right = int(((wanted == number) & (found == number)).sum())
        count, called = int((wanted == number).sum()), int((found == number).sum())
        classes.append(ClassScore(name, count, right / called if called else None, right / count if count else None))
    return Scores("accuracy", wilson(int((wanted == found).sum()), len(wanted)), tuple(classes), len(wanted))


def detection(truth: Sequence[Boxes], predicted: Sequence[Boxes], names: Sequence[str], *, seed: int) -> Scores:
    """The scores of boxes, image by image; the interval is a bootstrap's over images.

    Precision and recall are those of boxes from a score of 0.5.
    """
    marks = [_marks(wanted, found, len(names)) for wanted, found in zip(truth, predicted, strict=True)]
    whole = list(range(len(marks)))
    precisions = _average_precisions(marks, whole)
    chance = np.random.default_rng(seed)
    resampled = [
        _mean(_average_precisions(marks, chance.integers(0, len(marks), len(marks)).tolist()))
        for _ in range(_RESAMPLES if marks else 0)
    ]
    low, high = (float(np.quantile(resampled, share)) for share in (0.025, 0.975)) if resampled else (0.0, 1.0)
    classes = []
    for number, name in enumerate(names):
        hits = np.concatenate([mark[number].hits for mark in marks]) if marks else np.empty(0, bool)
        sure = np.concatenate([mark[number].scores for mark in marks]) >= MATCH if marks else np.empty(0, bool)
        count, called, right = sum(mark[number].count for mark in marks), int(sure.sum()), int(hits[sure].sum())
        classes.append(
            ClassScore(
                name,
                count,
                right / called if called else None,
                right / count if count else None,
                precisions[number],
            )
        )
    return Scores("mAP@0.5", Score(_mean(precisions), low, high), tuple(classes), len(marks))


def mean_average_precision(truth: Sequence[Boxes], predicted: Sequence[Boxes], class_count: int) -> float:
    """The mean over the classes that there are of the area under precision over recall."""
    marks = [_marks(wanted, found, class_count) for wanted, found in zip(truth, predicted, strict=True)]
    return _mean(_average_precisions(marks, range(len(marks))))


@dataclass(frozen=True, slots=True)
class _Marks:
    """Of one class in one image: how many boxes there are, and which of those found are right."""

    count: int
    scores: Floats
    hits: NDArray[np.bool_]


def _marks(truth: Boxes, found: Boxes, class_count: int) -> list[_Marks]:
    return [_marks_of(truth, found, number) for number in range(class_count)]


def _marks_of(truth: Boxes, found: Boxes, number: int) -> _Marks:
    """Each box found, the surest first, takes the box of the truth that it covers best, if nobody has it yet."""
    wanted = truth.corners[truth.classes == number]
    mine = found.classes == number
    order = np.argsort(-found.scores[mine], kind="stable")
    corners, scores = found.corners[mine][order], found.scores[mine][order]
    overlaps = _overlaps(corners, wanted)
    hits = np.zeros(len(corners), bool)
    for index in range(len(corners)):
        if len(wanted) and overlaps[index].max() >= MATCH:
            hits[index] = True
            overlaps[:, overlaps[index].argmax()] = 0.0
    return _Marks(len(wanted), scores, hits)


def _overlaps(some: Floats, others: Floats) -> Floats:
    """Intersection over union of each of some boxes with each of others."""
    corner = np.maximum(some[:, None, :2], others[None, :, :2])
    opposite = np.minimum(some[:, None, 2:], others[None, :, 2:])
    common = np.prod(np.clip(opposite - corner, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (some, others)]
    return np.asarray(common / np.maximum(areas[0][:, None] + areas[1][None, :] - common, 1e-12))


def _average_precisions(marks: Sequence[Sequence[_Marks]], images: Sequence[int]) -> list[float | None]:
    """Of each class over these images; None where the truth has none of it."""
    if not marks:
        return []
    return [_average_precision([marks[image][number] for image in images]) for number in range(len(marks[0]))]


def _average_precision(marks: Sequence[_Marks]) -> float | None:
    count = sum(mark.count for mark in marks)
    if not count:
        return None
    scores = np.concatenate([mark.scores for mark in marks])
    hits = np.concatenate([mark.hits for mark in marks])[np.argsort(-scores, kind="stable")]
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[hits].sum() / count)


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else 0.0
