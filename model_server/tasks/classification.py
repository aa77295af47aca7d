"""Image classification: which classes the whole image shows. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from framemesh.v1.answer_pb2 import Answer, Label
from framemesh.v1.answer_pb2 import Classification as ClassificationAnswer
from model_server.tasks.base import Asked, Outputs, label_count, sigmoid, softmax

Activation = Literal["softmax", "sigmoid", "none"]
"""What makes scores of logits: one class of many, each class on its own, or values as they are (regression)."""


@dataclass(frozen=True, slots=True)
class Classification:
    """A classifier of whole images; its network's output is `logits` of shape (images, classes).

    Attributes:
        labels: The classes by index.
        activation: What makes scores of the logits.
    """

    labels: tuple[str, ...]
    activation: Activation
    name: Literal["image-classification"] = "image-classification"

    @property
    def text_length(self) -> int | None:
        """It has no words."""

    def answer(self, outputs: Outputs, asked: Asked) -> Answer:
        """The best classes, best first."""
        count = label_count(asked.options.max_label_count)
        return classified(scores(outputs["logits"][0], self.activation), self.labels, count)


def scores(logits: NDArray[np.generic], activation: Activation) -> NDArray[np.float32]:
    """Scores of the classes, in the shape of the logits."""
    values = np.asarray(logits, np.float32)
    if activation == "none":
        return values
    return sigmoid(values) if activation == "sigmoid" else softmax(values)


def classified(scores: NDArray[np.float32], labels: Sequence[str], count: int) -> Answer:
    """The classes with the highest scores, best first; of equal ones the lower index comes first.

    Args:
        scores: Shape (classes,).
        labels: The name of each class.
        count: How many at most.
    """
    order = np.argsort(-scores, kind="stable")[:count]
    named = [Label(index=int(index), name=labels[index], score=float(scores[index])) for index in order]
    return Answer(classification=ClassificationAnswer(labels=named))
