"""From an encoded image to the network's inputs: fast with our own steps, or exactly as transformers does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from framemesh.errors import ConfigurationError
from framemesh.v1.answer_pb2 import Box
from model_server.decoding import open_image
from model_server.geometry import Size, View
from model_server.preprocessing import Preprocessing
from model_server.trust import Trust


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The network's input for one job.

    Attributes:
        pixels: Shape (inputs, channels, height, width); one input, but for a pose one for each person.
        view: How the frame lies in it.
    """

    pixels: NDArray[np.float32]
    view: View

    @property
    def pixel_count(self) -> int:
        """Pixels of all its inputs."""
        return self.pixels[:, 0].size


class Preparer(Protocol):
    """Makes inputs of images. Threads may call it at once."""

    def prepare(self, body: bytes, boxes: Sequence[Box]) -> Prepared:
        """The input for an encoded image.

        Args:
            body: A JPEG, PNG or WebP.
            boxes: Where the persons are, for a pose.

        Raises:
            InvalidImageError: It is no image, or a broken one.
            ImageTooLargeError: It is over the limits of size.
        """


class FastPreparer:
    """Our own steps, on a JPEG that is decoded straight to a reduced size."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing

    def prepare(self, body: bytes, boxes: Sequence[Box]) -> Prepared:  # noqa: ARG002 - as `Preparer` says
        """As `Preparer` says."""
        image = open_image(body)
        resized = self._preprocessing.resized(image.size)
        return self._made(image.decode(resized), image.size)

    def whole(self, image: Image.Image) -> Prepared:
        """The input for an RGB image that is decoded in full."""
        return self._made(image, Size(*image.size))

    def _made(self, image: Image.Image, frame: Size) -> Prepared:
        resized = self._preprocessing.resized(frame)
        pixels = self._preprocessing.apply(image, resized)
        return Prepared(pixels, View(frame, resized, Size(pixels.shape[3], pixels.shape[2])))


def exact(folder: Path, trust: Trust) -> Preparer:
    """Transformers' own processor of the model in the folder, without torch. Its import takes a second.

    Raises:
        ConfigurationError: transformers isn't installed, or can't load the processor.
    """
    try:
        from model_server.exact import ExactPreparer  # noqa: PLC0415 - the fast path must not import transformers
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"exact preprocessing needs {error.name}: pip install 'framemesh[torch]', or set "
            "FRAMEMESH_MODEL_PREPROCESSING=fast"
        ) from error
    return ExactPreparer(folder, trust)
