"""Image feature extraction: the image as a point in the model's feature space. Pure."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from framemesh.v1.answer_pb2 import Answer
from framemesh.v1.answer_pb2 import Embedding as EmbeddingAnswer
from model_server.tasks.base import Asked, Outputs


@dataclass(frozen=True, slots=True)
class Embedding:
    """A feature extractor; its network's output is `embedding` of shape (images, features)."""

    name: Literal["image-feature-extraction"] = "image-feature-extraction"

    @property
    def labels(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def text_length(self) -> int | None:
        """It has no words."""

    def answer(self, outputs: Outputs, asked: Asked) -> Answer:  # noqa: ARG002 - as every task
        """The vector, as the network gives it."""
        return Answer(embedding=EmbeddingAnswer(values=np.asarray(outputs["embedding"][0], np.float32).tolist()))
