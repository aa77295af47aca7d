"""Depth estimation: how far away each pixel is. Pure."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from framemesh.errors import InternalError
from framemesh.v1.answer_pb2 import Answer
from framemesh.v1.answer_pb2 import Depth as DepthAnswer
from model_server.tasks import png
from model_server.tasks.base import Asked, Outputs
from model_server.tasks.resizing import bicubic


@dataclass(frozen=True, slots=True)
class Depth:
    """A depth estimator; its network's output is `predicted_depth` of shape (images, height, width)."""

    name: Literal["depth-estimation"] = "depth-estimation"

    @property
    def labels(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def text_length(self) -> int | None:
        """It has no words."""

    def answer(self, outputs: Outputs, asked: Asked) -> Answer:
        """The depth of each pixel of the frame.

        Raises:
            InternalError: The network gives what is no number.
        """
        depth = np.asarray(outputs["predicted_depth"][0], np.float32)
        if not np.isfinite(depth).all():
            raise InternalError("the model's depths are no numbers: try another precision")
        return pictured(bicubic(depth, asked.view.frame))


def pictured(depth: NDArray[np.float32]) -> Answer:
    """Depths of shape (height, width) as a picture with their range."""
    low, high = float(depth.min()), float(depth.max())
    share = (depth - low) * (65535 / (high - low) if high > low else 0)
    return Answer(depth=DepthAnswer(png=png.of_values(np.rint(share).astype(np.uint16)), minimum=low, maximum=high))
