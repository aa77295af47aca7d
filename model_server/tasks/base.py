"""What every task has in common: how it is asked, and how it answers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from framemesh.errors import InvalidRequestError
from framemesh.v1.answer_pb2 import Answer, AnswerOptions
from model_server.geometry import View

Outputs = Mapping[str, NDArray[np.generic]]
"""A network's outputs for one job by name; the first axis of each counts the job's inputs, mostly one."""


class Texts(Protocol):
    """A model's way with words, where it has one. Calls may come from several threads."""

    def embed(self, labels: Sequence[str]) -> NDArray[np.float32]:
        """The labels as points in the model's feature space: shape (labels, features)."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The text that tokens spell, without special ones."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a job's answer depends on beside the network's outputs.

    Attributes:
        view: How the frame lies in the input; the same for each of a job's inputs.
        options: As the asker set them, already checked.
        labels: What a zero-shot model looks for. Empty for others.
        texts: The model's way with words. None where the task needs none.
    """

    view: View
    options: AnswerOptions
    labels: tuple[str, ...] = ()
    texts: Texts | None = None


class TaskProtocol(Protocol):
    """A task: a frozen dataclass with what its answers depend on, kept in the manifest under its `name`."""

    @property
    def name(self) -> str:
        """In the hub's words."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's own classes by index; empty where it has none."""

    @property
    def text_length(self) -> int | None:
        """To how many tokens a label is padded, 0 for the longest of those asked together; None without words."""

    def answer(self, outputs: Outputs, asked: Asked) -> Answer:
        """What the network says of one image. Runs in worker threads.

        Raises:
            InvalidRequestError: The options ask for what the model can't do.
        """


def label_count(asked: int, *, default: int = 5, limit: int = 1000) -> int:
    """How many classes to name, where 0 asks for the default.

    Raises:
        InvalidRequestError: Under 0 or over the limit.
    """
    if not 0 <= asked <= limit:
        raise InvalidRequestError(
            f"max_label_count can't be {asked}: use 1 to {limit:,}, or 0 for {default}", max_label_count=asked
        )
    return asked or default


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shares along the last axis that sum to 1."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True), np.float32)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each value between 0 and 1, on its own."""
    with np.errstate(over="ignore"):  # exp gives infinity, and the score is 0, as it should be
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
