"""Zero-shot object detection: where the image shows what the asker describes in words. Pure."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from framemesh.errors import InvalidRequestError
from framemesh.v1.answer_pb2 import Answer
from model_server.geometry import Size
from model_server.tasks.base import Asked, Outputs, sigmoid
from model_server.tasks.detection import best_class_each, detected, min_score

MIN_SCORE = 0.1
"""The least score of an object, unless asked otherwise: transformers' own."""


@dataclass(frozen=True, slots=True)
class ZeroShotDetection:
    """A detector that compares patches of the image with labels, as OWL-ViT and OWLv2 do.

    Its network's outputs are `embeddings` of shape (images, patches, features), of length 1; `shifts` and `factors` of
    shape (images, patches, 1), which make a logit of a similarity; and `boxes` of shape (images, patches, 4): centre
    x and y, width and height as shares of the image.

    Attributes:
        text_length: To how many tokens a label is padded.
        padded: Whether the model sees the frame in the upper left corner of a square as long as its longer edge.
    """

    text_length: int
    padded: bool
    name: Literal["zero-shot-object-detection"] = "zero-shot-object-detection"

    @property
    def labels(self) -> tuple[str, ...]:
        """None of its own."""
        return ()

    def answer(self, outputs: Outputs, asked: Asked) -> Answer:
        """The objects, best first, each by the label that fits it best, in pixels of the frame.

        Raises:
            InvalidRequestError: There is no label to look for.
        """
        if not asked.labels:
            raise InvalidRequestError(
                "the model needs to know what to look for: send candidate_labels, or set labels in the model's spec"
            )
        assert asked.texts is not None  # noqa: S101 - a task with words has them
        embeddings, shifts, factors, boxes = (
            np.asarray(outputs[name][0], np.float32) for name in ("embeddings", "shifts", "factors", "boxes")
        )
        frame = asked.view.frame
        edge = max(frame.width, frame.height)
        with np.errstate(invalid="ignore", over="ignore"):  # `detected` drops what isn't a number
            scores = sigmoid((embeddings @ asked.texts.embed(asked.labels).T + shifts) * factors)
        return detected(
            best_class_each(scores, boxes),
            asked.labels,
            scale=Size(edge, edge) if self.padded else frame,
            frame=frame,
            min_score=min_score(asked.options, MIN_SCORE),
        )
