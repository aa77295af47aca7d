"""How alike masks, depths and points are. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import KDTree

from framemesh.comparing.answers import name_of
from framemesh.v1.answer_pb2 import Depth, Keypoints, Segmentation

_SIDE_PX = 256
_REACH = 0.01
"""How near two points are the same, as a part of the way from the upper left corner to the farthest point."""


@dataclass(frozen=True, slots=True)
class ClassesAlike:
    """Two segmentations.

    Attributes:
        pixels: Share of pixels that have the same class, or none in both.
        mean_iou: IoU of each class that either has, averaged.
        a: Classes of the one.
        b: Classes of the other.
    """

    pixels: float
    mean_iou: float
    a: set[str]
    b: set[str]


def classes_alike(a: Segmentation, b: Segmentation) -> ClassesAlike:
    """Compare by class: which of two persons a pixel belongs to doesn't count."""
    names = {name: number for number, name in enumerate(sorted(_names(a) | _names(b)), 1)}
    one, other = _classes(a, names), _classes(b, names)
    if one is None or other is None or one.shape != other.shape:  # nothing found by one, or by both
        same = float(one is None and other is None)
        return ClassesAlike(same, same, _names(a), _names(b))
    size = len(names) + 1
    table = np.bincount(one.ravel() * size + other.ravel(), minlength=size * size).reshape(size, size)
    shared = np.diagonal(table)[1:]
    every = table.sum(axis=0)[1:] + table.sum(axis=1)[1:] - shared
    seen = every > 0
    mean = float((shared[seen] / every[seen]).mean()) if seen.any() else 1.0
    return ClassesAlike(float(np.trace(table) / table.sum()), mean, _names(a), _names(b))


def _names(answer: Segmentation) -> set[str]:
    return {name_of(segment.label.name) for segment in answer.segments}


def _classes(answer: Segmentation, names: Mapping[str, int]) -> NDArray[np.int64] | None:
    """The class of each pixel, 0 for none; where segments overlap the first counts. None without any segment."""
    classes = None
    for segment in reversed(answer.segments):
        mask = np.asarray(Image.open(BytesIO(segment.mask.png)), bool)
        if classes is None:
            classes = np.zeros(mask.shape, np.int64)
        classes[mask] = names[name_of(segment.label.name)]
    return classes


def depths_alike(a: Depth, b: Depth) -> float:
    """Pearson's correlation of two depths, from -1 to 1, on an even grid of pixels.

    Models tell depth in units and with offsets of their own, some its inverse: those it is blind to, but for the sign.
    """
    one, other = _grid(a), _grid(b)
    if one.shape != other.shape:
        return 0.0
    one, other = one - one.mean(), other - other.mean()
    lengths = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / lengths if lengths else float(not one.any() and not other.any())


def _grid(depth: Depth) -> NDArray[np.float64]:
    values = np.asarray(Image.open(BytesIO(depth.png)))
    step = max(1, min(values.shape) // _SIDE_PX)
    return values[::step, ::step].astype(np.float64) * (1.0 if depth.maximum >= depth.minimum else -1.0)


def points_alike(a: Keypoints, b: Keypoints) -> float:
    """The share of both answers' points that have one of the same name near in the other."""
    one, other = _points(a), _points(b)
    count = sum(len(places) for each in (one, other) for places in each.values())
    if not count:
        return 1.0
    reach = _REACH * max(float(np.hypot(*places.T).max()) for each in (one, other) for places in each.values())
    near = 0
    for name in one.keys() & other.keys():
        for here, there in ((one[name], other[name]), (other[name], one[name])):
            apart, _ = KDTree(there).query(here)
            near += int((apart <= reach).sum())
    return near / count


def _points(answer: Keypoints) -> dict[str, NDArray[np.float64]]:
    """Places in pixels by the points' names."""
    found: dict[str, list[tuple[float, float]]] = {}
    for instance in answer.instances:
        for point in instance.points:
            found.setdefault(name_of(point.label.name), []).append((point.x_px, point.y_px))
    return {name: np.array(places, np.float64) for name, places in found.items()}
