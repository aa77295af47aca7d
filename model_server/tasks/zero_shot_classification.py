"""Zero-shot image classification: which of the asker's own labels the whole image shows. Pure."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from framemesh.errors import InvalidRequestError
from framemesh.v1.answer_pb2 import Answer
from model_server.tasks.base import Asked, Outputs, label_count
from model_server.tasks.classification import Activation, classified, scores

_TEMPLATE = "This is a photo of {}."  # of transformers' own pipeline


@dataclass(frozen=True, slots=True)
class ZeroShotClassification:
    """A model that sees images and texts as points of one space.

    Its network's output is `image_embeds` of shape (images, features), of length 1 as its texts are.

    Attributes:
        scale: Factor from the cosine of image and text to a logit.
        bias: What is added to that.
        activation: What makes scores of the logits of all labels.
        text_length: To how many tokens a text is padded or cut, 0 for the longest of those asked together.
    """

    scale: float
    bias: float
    activation: Activation
    text_length: int
    name: Literal["zero-shot-image-classification"] = "zero-shot-image-classification"

    @property
    def labels(self) -> tuple[str, ...]:
        """None of its own."""
        return ()

    def answer(self, outputs: Outputs, asked: Asked) -> Answer:
        """The labels that fit best, best first; their index is their place among those asked for."""
        if not asked.labels:
            raise InvalidRequestError(
                "the model has no classes of its own: send candidate_labels, or deploy it with labels in its spec"
            )
        assert asked.texts is not None  # noqa: S101 - a task with a text length has them
        texts = asked.texts.embed([_TEMPLATE.format(label) for label in asked.labels])
        logits = texts @ np.asarray(outputs["image_embeds"][0], np.float32) * self.scale + self.bias
        count = label_count(asked.options.max_label_count)
        return classified(scores(logits, self.activation), asked.labels, count)
