"""Keypoint detection: points that stand out in the image, or the joints of each person. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from framemesh.errors import InvalidRequestError
from framemesh.v1.answer_pb2 import Answer, Box, Keypoint, KeypointInstance, Keypoints, Label
from model_server.geometry import Size
from model_server.tasks.base import Asked, Outputs

_PADDING = 1.25  # a person's input shows more than the box, by this factor
_SIGMA, _RADIUS = 0.8, 5  # how ViTPose's processor smooths its maps, in pixels of them
_LEAST, _MOST = 0.001, 50.0  # between which it takes their logarithm


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """SuperPoint's output: `scores` of shape (images, height, width), 0 where a neighbour has more.

    Attributes:
        min_score: The least that makes a pixel a point.
        border: How many pixels of the input's upper and left edge have none.
        max_count: The most points, those with the highest scores; -1 means any number.
    """

    min_score: float
    border: int
    max_count: int
    kind: Literal["scores"] = "scores"

    def instances(self, outputs: Outputs, asked: Asked, labels: Sequence[str]) -> list[KeypointInstance]:
        """One instance with all points, in reading order or by score, as transformers' model has them."""
        scores = np.asarray(outputs["scores"][0], np.float32)
        # transformers means to spare all four edges, but takes the map for eight times as large as it is.
        rows, columns = np.nonzero(scores[self.border :, self.border :] > self.min_score)
        places = np.stack([columns, rows], axis=1) + self.border
        found = scores[places[:, 1], places[:, 0]]
        if 0 <= self.max_count < len(found):
            best = np.argsort(-found, kind="stable")[: self.max_count]
            places, found = places[best], found[best]
        shares = places.astype(np.float32) / np.array(scores.shape[::-1], np.float32)
        frame = asked.view.frame
        pixels = np.trunc(shares * np.array([frame.width, frame.height], np.float32))
        kinds = np.zeros(len(found), np.int64)
        return [KeypointInstance(points=_points(pixels, found, kinds, labels, asked.options.min_score))]


@dataclass(frozen=True, slots=True)
class JointMaps:
    """ViTPose's output: `heatmaps` of shape (persons, joints, height, width)."""

    kind: Literal["heatmaps"] = "heatmaps"

    def instances(self, outputs: Outputs, asked: Asked, labels: Sequence[str]) -> list[KeypointInstance]:
        """One instance a person, in the order of the boxes, with the joints whose score is over the least."""
        heatmaps = np.asarray(outputs["heatmaps"], np.float32)
        _, _, height, width = heatmaps.shape
        places, scores = peaks(heatmaps)
        shares = refined(places, heatmaps) / (width - 1, height - 1)
        found: list[KeypointInstance] = []
        for box, share, score in zip(persons(asked.options.boxes, asked.view.frame), shares, scores, strict=True):
            left, top, across, down = _shown(box, asked.view.input)
            pixels = share * (across, down) + (left, top)
            points = _points(pixels, score, np.arange(len(score)), labels, asked.options.min_score)
            found.append(KeypointInstance(points=points, box=box))
        return found


@dataclass(frozen=True, slots=True)
class KeypointDetection:
    """A model that finds points.

    Attributes:
        labels: What the points are, by index.
        decoding: What its network gives, and how points are made of it.
    """

    labels: tuple[str, ...]
    decoding: Annotated[ScoreMap | JointMaps, Field(discriminator="kind")]
    name: Literal["keypoint-detection"] = "keypoint-detection"

    @property
    def text_length(self) -> int | None:
        """It has no words."""

    def answer(self, outputs: Outputs, asked: Asked) -> Answer:
        """The points whose score is over the least that is asked for, by default 0."""
        return Answer(keypoints=Keypoints(instances=self.decoding.instances(outputs, asked, self.labels)))


def persons(boxes: Sequence[Box], frame: Size) -> list[Box]:
    """Where the persons are, within the frame; one as large as the frame where nobody says.

    Raises:
        InvalidRequestError: A box holds nothing of the frame.
    """
    if not boxes:
        return [Box(x_max_px=frame.width, y_max_px=frame.height)]
    return [_within(box, frame) for box in boxes]


def peaks(heatmaps: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The highest value of each map, and where it is.

    Args:
        heatmaps: Shape (persons, joints, height, width).

    Returns:
        Places x, y of shape (persons, joints, 2), and values of shape (persons, joints).
    """
    flat = heatmaps.reshape(*heatmaps.shape[:2], -1)
    rows, columns = np.divmod(flat.argmax(axis=2), heatmaps.shape[3])
    return np.stack([columns, rows], axis=2), flat.max(axis=2)


def refined(places: NDArray[np.int64], heatmaps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Peaks moved between the pixels, to where a Gaussian through their neighbours has its top.

    This is DARK (Zhang et al., Distribution-Aware Coordinate Representation for Human Pose Estimation, 2020), as
    transformers' processor does it with scipy.

    Args:
        places: Of the peaks, x and y, shape (persons, joints, 2).
        heatmaps: Shape (persons, joints, height, width).
    """
    logarithms = np.log(np.clip(_smoothed(heatmaps), _LEAST, _MOST))
    padded = np.pad(logarithms, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    person, joint = np.ogrid[: heatmaps.shape[0], : heatmaps.shape[1]]

    def at(right: int, down: int) -> NDArray[np.float32]:
        found: NDArray[np.float32] = padded[person, joint, places[..., 1] + 1 + down, places[..., 0] + 1 + right]
        return found

    middle = at(0, 0)
    slope = 0.5 * np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], axis=-1)
    across = at(1, 0) - 2 * middle + at(-1, 0)
    down = at(0, 1) - 2 * middle + at(0, -1)
    both = 0.5 * (at(1, 1) - at(1, 0) - at(0, 1) + middle + middle - at(-1, 0) - at(0, -1) + at(-1, -1))
    curvature = np.stack([np.stack([across, both], -1), np.stack([both, down], -1)], -2)
    curvature = curvature + np.finfo(np.float32).eps * np.eye(2)  # so that a flat map has an inverse
    moves: NDArray[np.float64] = np.linalg.solve(curvature, slope[..., None])[..., 0]
    return places - moves


def _smoothed(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The maps under a Gaussian, mirrored at their edges, as `scipy.ndimage.gaussian_filter` does it."""
    weights = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    weights /= weights.sum()
    for axis in (2, 3):
        edges = [(_RADIUS, _RADIUS) if each == axis else (0, 0) for each in range(4)]
        padded = np.pad(maps.astype(np.float64), edges, mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _RADIUS + 1, axis=axis)
        maps = (windows @ weights).astype(np.float32)
    return maps


def _within(box: Box, frame: Size) -> Box:
    left, right = max(box.x_min_px, 0.0), min(box.x_max_px, frame.width)
    top, bottom = max(box.y_min_px, 0.0), min(box.y_max_px, frame.height)
    if not (right - left > 0 and bottom - top > 0):  # NaN is neither
        raise InvalidRequestError(
            f"the box from ({box.x_min_px:g}, {box.y_min_px:g}) to ({box.x_max_px:g}, {box.y_max_px:g}) holds nothing "
            f"of the image of {frame.width} x {frame.height} pixels"
        )
    return Box(x_min_px=left, y_min_px=top, x_max_px=right, y_max_px=bottom)


def _shown(box: Box, size: Size) -> tuple[float, float, float, float]:
    """What a person's input shows of the frame: left, top, width and height in pixels; the box, and more around it."""
    width, height = box.x_max_px - box.x_min_px, box.y_max_px - box.y_min_px
    proportion = size.width / size.height
    across, down = _PADDING * max(width, height * proportion), _PADDING * max(height, width / proportion)
    return box.x_min_px + (width - across) / 2, box.y_min_px + (height - down) / 2, across, down


def _points(
    pixels: NDArray[np.floating],
    scores: NDArray[np.float32],
    kinds: NDArray[np.int64],
    labels: Sequence[str],
    least: float,
) -> list[Keypoint]:
    """The points whose score is over the least.

    Args:
        pixels: Places x, y in the frame, shape (points, 2).
        scores: Shape (points,).
        kinds: What each is, as an index into the labels, shape (points,).
        labels: The model's own.
        least: What a score must be over.
    """
    return [
        Keypoint(label=Label(index=kind, name=labels[kind], score=score), x_px=x, y_px=y)
        for (x, y), score, kind in zip(pixels.tolist(), scores.tolist(), kinds.tolist(), strict=True)
        if score > least
    ]
