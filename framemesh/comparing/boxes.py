"""Which objects of two detectors are the same. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from framemesh.comparing.answers import name_of

MIN_OVERLAP = 0.5
"""The least IoU of two boxes of the same object: Pascal VOC's, and the first of COCO's."""

Seen = Mapping[str, Any]
"""One of `labels` in the table of results."""


class Pair(NamedTuple):
    """An object: its places in both lists, none where one doesn't have it; and what part of their union is shared."""

    a: int | None
    b: int | None
    same: bool = False
    overlap: float = 0.0


def matched(a: Sequence[Seen], b: Sequence[Seen]) -> list[Pair]:
    """Each object once.

    First those of one class, A's surest first, each with what it overlaps most; then, of what is left, those of
    different classes; then those that one side alone sees.
    """
    pairs: list[Pair] = []
    left_a, left_b = sorted(range(len(a)), key=lambda each: -a[each]["score"]), set(range(len(b)))
    for same in (True, False):
        rest = []
        for one in left_a:
            name = name_of(a[one]["name"])
            may = (other for other in left_b if (name_of(b[other]["name"]) == name) is same)
            best, overlap = max(
                ((other, iou(a[one], b[other])) for other in may), key=lambda found: found[1], default=(-1, 0.0)
            )
            if overlap >= MIN_OVERLAP:
                left_b.remove(best)
                pairs.append(Pair(one, best, same, overlap))
            else:
                rest.append(one)
        left_a = rest
    return [*pairs, *(Pair(one, None) for one in left_a), *(Pair(None, other) for other in sorted(left_b))]


def iou(one: Seen, other: Seen) -> float:
    """The part of two boxes' union that they share, from 0 to 1."""
    width = min(one["x_max_px"], other["x_max_px"]) - max(one["x_min_px"], other["x_min_px"])
    height = min(one["y_max_px"], other["y_max_px"]) - max(one["y_min_px"], other["y_min_px"])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return float(shared / (_area(one) + _area(other) - shared))


def _area(box: Seen) -> float:
    return float((box["x_max_px"] - box["x_min_px"]) * (box["y_max_px"] - box["y_min_px"]))
