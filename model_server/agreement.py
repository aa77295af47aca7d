"""How far two answers to the same image agree. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from framemesh.v1.answer_pb2 import Answer, Box, Segment

_MIN_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two answers agree.

    Attributes:
        share: From 0, nothing in common, to 1: whether the best class is the same, or which part of the objects,
            pixels or points is.
        difference: The greatest difference of two scores that belong together, or of two values as a share of their
            range.
    """

    share: float
    difference: float


def agreement(ours: Answer, theirs: Answer) -> Agreement:
    """How far the answers agree; both are of one task.

    Raises:
        ValueError: They aren't.
    """
    kind = ours.WhichOneof("answer")
    if kind != theirs.WhichOneof("answer"):
        raise ValueError(f"{kind} and {theirs.WhichOneof('answer')} can't be compared")
    measure = _MEASURES.get(kind or "")
    if measure is None:
        raise ValueError(f"answers of kind {kind} can't be compared")
    return measure(ours, theirs)


def _classification(ours: Answer, theirs: Answer) -> Agreement:
    got = {label.index: label.score for label in ours.classification.labels}
    wanted = {label.index: label.score for label in theirs.classification.labels}
    both = got.keys() & wanted.keys()
    same = next(iter(got)) == next(iter(wanted))
    return Agreement(float(same), max((abs(got[index] - wanted[index]) for index in both), default=1.0))


def _detection(ours: Answer, theirs: Answer) -> Agreement:
    """Objects belong together where they are of one class and overlap by half; the best ones are paired first."""
    wanted = list(theirs.detection.objects)
    pairs = []
    for got in ours.detection.objects:
        same = [one for one in wanted if one.label.index == got.label.index]
        nearest = max(same, key=lambda one: overlap(got.box, one.box), default=None)
        if nearest is not None and overlap(got.box, nearest.box) >= _MIN_OVERLAP:
            wanted.remove(nearest)
            pairs.append((got, nearest))
    every = len(ours.detection.objects) + len(wanted)
    differences = (abs(got.label.score - one.label.score) for got, one in pairs)
    return Agreement(len(pairs) / every if every else 1.0, max(differences, default=0.0))


def overlap(one: Box, other: Box) -> float:
    """The part of both boxes' union that they share, from 0 to 1."""
    width = min(one.x_max_px, other.x_max_px) - max(one.x_min_px, other.x_min_px)
    height = min(one.y_max_px, other.y_max_px) - max(one.y_min_px, other.y_min_px)
    shared = max(width, 0.0) * max(height, 0.0)
    union = _area(one) + _area(other) - shared
    return shared / union if union else 0.0


def _area(box: Box) -> float:
    return (box.x_max_px - box.x_min_px) * (box.y_max_px - box.y_min_px)


def _embedding(ours: Answer, theirs: Answer) -> Agreement:
    got, wanted = np.asarray(ours.embedding.values), np.asarray(theirs.embedding.values)
    lengths = float(np.linalg.norm(got) * np.linalg.norm(wanted))
    cosine = float(got @ wanted) / lengths if lengths else 1.0
    spread = float(np.ptp(wanted)) or 1.0
    return Agreement(max(0.0, cosine), float(np.abs(got - wanted).max()) / spread)


def _segmentation(ours: Answer, theirs: Answer) -> Agreement:
    """The share of pixels with the same class, and how far the scores of segments in the same place are apart."""
    got, wanted = _masks(ours), _masks(theirs)
    if not got or not wanted:
        return Agreement(float(len(got) == len(wanted)), 0.0)
    differences = [
        abs(segment.label.score - other.label.score)
        for segment, mask in got
        for other, theirs_mask in wanted
        if segment.label.index == other.label.index and 2 * (mask & theirs_mask).sum() > (mask | theirs_mask).sum()
    ]
    same = _classes(got) == _classes(wanted)
    return Agreement(float(same.mean()), max(differences, default=1.0))


def _masks(answer: Answer) -> list[tuple[Segment, NDArray[np.bool_]]]:
    segments = answer.segmentation.segments
    return [(segment, np.asarray(Image.open(BytesIO(segment.mask.png)), bool)) for segment in segments]


def _classes(masks: list[tuple[Segment, NDArray[np.bool_]]]) -> NDArray[np.int32]:
    """The class of each pixel, -1 for none; where segments overlap, the first counts."""
    classes = np.full(masks[0][1].shape, -1, np.int32)
    for segment, mask in reversed(masks):
        classes[mask] = segment.label.index
    return classes


def _depth(ours: Answer, theirs: Answer) -> Agreement:
    """The share of pixels whose depths are within a hundredth of the range."""
    spread = theirs.depth.maximum - theirs.depth.minimum or 1.0
    apart = np.abs(_depths(ours) - _depths(theirs)) / spread
    return Agreement(float((apart <= 0.01).mean()), float(apart.max()))


def _depths(answer: Answer) -> NDArray[np.float64]:
    depth = answer.depth
    values = np.asarray(Image.open(BytesIO(depth.png)), np.float64)
    return depth.minimum + values / 65535 * (depth.maximum - depth.minimum)


def _keypoints(ours: Answer, theirs: Answer) -> Agreement:
    """The share of points that have one of the same kind near.

    Near is a hundredth of the way from the upper left corner to the farthest point, which stands for the image's
    diagonal.
    """
    got, wanted = _points(ours), _points(theirs)
    if not len(got) or not len(wanted):
        return Agreement(float(len(got) == len(wanted)), 0.0)
    reach = 0.01 * float(np.hypot(wanted[:, 2], wanted[:, 3]).max())
    apart = np.hypot(*(got[:, None, 2:4] - wanted[None, :, 2:4]).transpose(2, 0, 1))
    apart[(got[:, None, :2] != wanted[None, :, :2]).any(axis=2)] = np.inf
    pairs = [(one, int(row.argmin())) for one, row in enumerate(apart) if row.min() <= reach]
    differences = [abs(got[one, 4] - wanted[other, 4]) for one, other in pairs]
    return Agreement(2 * len(pairs) / (len(got) + len(wanted)), max(differences, default=1.0))


def _points(answer: Answer) -> NDArray[np.float64]:
    """Instance, kind, x, y and score of each point."""
    return np.array(
        [
            (number, point.label.index, point.x_px, point.y_px, point.label.score)
            for number, instance in enumerate(answer.keypoints.instances)
            for point in instance.points
        ],
        np.float64,
    )


def _text(ours: Answer, theirs: Answer) -> Agreement:
    """Whether the words are the same."""
    same = ours.text.text == theirs.text.text
    return Agreement(float(same), float(not same))


_MEASURES: dict[str, Callable[[Answer, Answer], Agreement]] = {
    "classification": _classification,
    "detection": _detection,
    "segmentation": _segmentation,
    "depth": _depth,
    "embedding": _embedding,
    "text": _text,
    "keypoints": _keypoints,
}
