"""From an image to the model's input, with Pillow and numpy alone. Pure.

Every processor of an image classifier that transformers 5 has and that this reproduces does the same four steps:
resize, cut the middle out, and map each channel's 0 to 255 to floats by one multiplication and one addition.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    def turned(self) -> "Size":
        """The size after a quarter turn."""
        return Size(self.height, self.width)


@dataclass(frozen=True, slots=True)
class ShortestEdge:
    """Resizing that keeps the image's proportions."""

    pixels: int


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a model wants of its input.

    Attributes:
        resize: To what the whole image is resized, its proportions lost or kept.
        resample: Pillow's number of the filter: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming.
        size: The part that is cut from the middle of the resized image: the size of the input.
        scale: Factor for red, green and blue, from the range 0 to 255.
        bias: What is added to each channel after that.
    """

    resize: Size | ShortestEdge
    resample: int
    size: Size
    scale: tuple[float, float, float]
    bias: tuple[float, float, float]

    def batch(self, count: int) -> NDArray[np.float32]:
        """An input for that many images, not yet filled: shape (count, 3, height, width)."""
        return np.zeros((count, 3, self.size.height, self.size.width), np.float32)

    def resized(self, size: Size) -> Size:
        """To what an image of this size is resized."""
        if isinstance(self.resize, Size):
            return self.resize
        short, long = sorted((size.width, size.height))
        # Rounded down as transformers and torchvision do.
        long = int(self.resize.pixels * long / short)
        return Size(self.resize.pixels, long) if size.width <= size.height else Size(long, self.resize.pixels)

    def fill(self, pixels: NDArray[np.float32], image: Image.Image, resized: Size) -> None:
        """Write the image into the model's input.

        Args:
            pixels: Shape (3, height, width): one image's part of a batch.
            image: In mode RGB, of any size.
            resized: What `resized` gave for the size of the original, which `image` may be a reduction of.
        """
        image = image.resize((resized.width, resized.height), Image.Resampling(self.resample))
        if resized != self.size:
            # Pillow fills what lies outside with black; floor division rounds the margins as transformers does.
            left = (resized.width - self.size.width) // 2
            top = (resized.height - self.size.height) // 2
            image = image.crop((left, top, left + self.size.width, top + self.size.height))
        channels = np.asarray(image).transpose(2, 0, 1)
        np.multiply(channels, np.asarray(self.scale, np.float32)[:, None, None], out=pixels)
        pixels += np.asarray(self.bias, np.float32)[:, None, None]
