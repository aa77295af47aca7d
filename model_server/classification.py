"""From a classifier's outputs to named classes with scores. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framemesh.errors import InvalidRequestError
from model_server.artifacts import Activation

DEFAULT_LABEL_COUNT = 5
MAX_LABEL_COUNT = 1000


@dataclass(frozen=True, slots=True)
class ScoredLabel:
    """One class of an answer."""

    index: int
    name: str
    score: float


def label_count(asked: int) -> int:
    """How many classes to name, where 0 asks for the default.

    Raises:
        InvalidRequestError: Under 0 or over 1,000.
    """
    if not 0 <= asked <= MAX_LABEL_COUNT:
        raise InvalidRequestError(
            f"max_label_count can't be {asked}: use 1 to {MAX_LABEL_COUNT:,}, or 0 for {DEFAULT_LABEL_COUNT}",
            max_label_count=asked,
        )
    return asked or DEFAULT_LABEL_COUNT


def scores(logits: NDArray[np.float32], activation: Activation) -> NDArray[np.float32]:
    """Scores of each image's classes, in the shape of the logits: (images, classes)."""
    if activation == "none":
        return logits
    if activation == "sigmoid":
        with np.errstate(over="ignore"):  # exp gives infinity, and the score is 0, as it should be
            return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def best(scores: NDArray[np.float32], labels: Sequence[str], count: int) -> list[ScoredLabel]:
    """The classes of one image with the highest scores, best first; of equal ones the lower index comes first.

    Args:
        scores: Shape (classes,).
        labels: The name of each class.
        count: How many at most.
    """
    order = np.argsort(-scores, kind="stable")[:count]
    return [ScoredLabel(int(index), labels[index], float(scores[index])) for index in order]
