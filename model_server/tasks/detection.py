"""Object detection: which objects the image shows, and where. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from framemesh.v1.answer_pb2 import Answer, AnswerOptions, Box, DetectedObject, Label
from framemesh.v1.answer_pb2 import Detection as DetectionAnswer
from model_server.geometry import Size
from model_server.tasks.base import Asked, Outputs, sigmoid, softmax

MIN_SCORE = 0.5
"""The least score of an object, unless asked otherwise: transformers' own."""

Scoring = Literal["softmax", "sigmoid"]
"""What a query's logits say: one class of many, of which the last is none, or each class on its own."""


@dataclass(frozen=True, slots=True)
class Found:
    """Objects that a network found, in any order.

    Attributes:
        scores: Shape (objects,).
        classes: The number of each one's class, shape (objects,).
        boxes: Shape (objects, 4): centre x and y, width and height as shares of the image.
    """

    scores: NDArray[np.float32]
    classes: NDArray[np.intp]
    boxes: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Detection:
    """A detector whose network looks for one object a query.

    Its outputs are `logits` of shape (images, queries, classes), and `boxes` of shape (images, queries, 4): centre x
    and y, width and height as shares of the image.

    Attributes:
        labels: The classes by index, without the one for none.
        scoring: What makes scores of the logits.
        limit: How many pairs of query and class are looked at where each class stands on its own; None means as many
            as there are queries.
    """

    labels: tuple[str, ...]
    scoring: Scoring
    limit: int | None = None
    name: Literal["object-detection"] = "object-detection"

    @property
    def text_length(self) -> int | None:
        """It has no words."""

    def answer(self, outputs: Outputs, asked: Asked) -> Answer:
        """The objects, best first, in pixels of the frame."""
        found = self._found(np.asarray(outputs["logits"][0], np.float32), np.asarray(outputs["boxes"][0], np.float32))
        frame = asked.view.frame
        return detected(found, self.labels, scale=frame, frame=frame, min_score=min_score(asked.options, MIN_SCORE))

    def _found(self, logits: NDArray[np.float32], boxes: NDArray[np.float32]) -> Found:
        with np.errstate(invalid="ignore"):  # of infinite logits; `detected` drops what isn't a number
            if self.scoring == "softmax":
                return best_class_each(softmax(logits)[:, :-1], boxes)
            return best_pairs(sigmoid(logits), boxes, self.limit or len(logits))


def best_class_each(scores: NDArray[np.float32], boxes: NDArray[np.float32]) -> Found:
    """Each query's best class; of equal ones the lower index.

    Args:
        scores: Shape (queries, classes).
        boxes: Shape (queries, 4).
    """
    classes = scores.argmax(axis=1)
    return Found(scores[np.arange(len(scores)), classes], classes, boxes)


def best_pairs(scores: NDArray[np.float32], boxes: NDArray[np.float32], limit: int) -> Found:
    """The best pairs of query and class: one query may stand for objects of several classes.

    Args:
        scores: Shape (queries, classes).
        boxes: Shape (queries, 4).
        limit: How many at most.
    """
    best = np.argsort(-scores, axis=None, kind="stable")[:limit]
    queries, classes = np.divmod(best, scores.shape[1])
    return Found(scores[queries, classes], classes, boxes[queries])


def min_score(options: AnswerOptions, default: float) -> float:
    """The least score that is asked for."""
    return options.min_score if options.HasField("min_score") else default


def detected(found: Found, labels: Sequence[str], *, scale: Size, frame: Size, min_score: float) -> Answer:
    """The objects whose score is high enough, best first, each cut to the part that lies in the frame.

    Left out is what has no part there, and what isn't a number: a network may give that for an odd image.

    Args:
        found: What the network found.
        labels: The name of each class.
        scale: The size of the image that the boxes are shares of, in pixels of the frame.
        frame: The frame's size.
        min_score: The least score.
    """
    usable = (found.scores >= min_score) & np.isfinite(found.scores) & np.isfinite(found.boxes).all(axis=1)
    centres, sizes = found.boxes[usable, :2], found.boxes[usable, 2:]
    with np.errstate(over="ignore"):  # finite, yet too large: infinity is cut to the frame as well
        corners = np.hstack([centres - sizes / 2, centres + sizes / 2]) * ((scale.width, scale.height) * 2)
    corners = np.clip(corners, 0, (frame.width, frame.height) * 2)
    objects = [
        DetectedObject(
            label=Label(index=int(index), name=labels[index], score=float(score)),
            box=Box(x_min_px=x_min, y_min_px=y_min, x_max_px=x_max, y_max_px=y_max),
        )
        for score, index, (x_min, y_min, x_max, y_max) in zip(
            found.scores[usable], found.classes[usable], corners.tolist(), strict=True
        )
        if x_min < x_max and y_min < y_max
    ]
    objects.sort(key=lambda one: -one.label.score)
    return Answer(detection=DetectionAnswer(objects=objects))
