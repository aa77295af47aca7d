"""From an image to the model's input, with Pillow and numpy alone. Pure.

Most processors of transformers 5 do the same steps: resize, cut the middle out or pad at the right and below, and map
each channel's 0 to 255 to floats by one multiplication and one addition. Those that do more take the exact path,
through transformers' own processor: `model_server.exact`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model_server.geometry import Size


@dataclass(frozen=True, slots=True)
class ShortestEdge:
    """Resizing that keeps the image's proportions.

    Attributes:
        pixels: Of the shorter edge.
        longest: The most of the longer edge, which then decides; None means any.
        multiple: Both edges are cut down to multiples of this, as YOLOS does.
    """

    pixels: int
    longest: int | None = None
    multiple: int = 1

    def resized(self, size: Size) -> Size:
        """To what an image of this size is resized, rounded as transformers and torchvision do.

        However narrow the image, no edge is shorter than `multiple`.
        """
        short, long = sorted((size.width, size.height))
        exact: float = self.pixels
        if self.longest is not None and long / short * exact > self.longest:
            exact = self.longest * short / long
        edge, other = round(exact), int(exact * long / short)
        upright = size.width < size.height
        if edge == short and not (self.multiple > 1 and upright):  # YOLOS's own copy of the rule forgets these
            other = long
        edge, other = (max(length // self.multiple, 1) * self.multiple for length in (edge, other))
        return Size(edge, other) if upright else Size(other, edge)


def rounded_up(size: Size, multiple: int) -> Size:
    """The least multiples that hold a size."""
    return Size(-(-size.width // multiple) * multiple, -(-size.height // multiple) * multiple)


@dataclass(frozen=True, slots=True)
class RoundedUp:
    """Resizing by another rule, then up to multiples.

    Attributes:
        rule: The other rule.
        up_to: Of what both edges are multiples.
    """

    rule: ShortestEdge
    up_to: int

    def resized(self, size: Size) -> Size:
        """To what an image of this size is resized."""
        return rounded_up(self.rule.resized(size), self.up_to)


@dataclass(frozen=True, slots=True)
class RoundedDown:
    """Hardly any resizing: both edges become multiples of this, and are never under it."""

    down_to: int

    def resized(self, size: Size) -> Size:
        """To what an image of this size is resized."""
        width, height = (max(edge // self.down_to, 1) * self.down_to for edge in (size.width, size.height))
        return Size(width, height)


@dataclass(frozen=True, slots=True)
class Fitted:
    """Resizing that keeps the image's proportions, but for the rounding to multiples.

    Attributes:
        near: One edge of it is reached, the one for which the image is scaled least.
        multiple_of: Of what both edges become the nearest multiple, and never under it.
    """

    near: Size
    multiple_of: int

    def resized(self, size: Size) -> Size:
        """To what an image of this size is resized."""
        scale = min(self.near.height / size.height, self.near.width / size.width, key=lambda scale: abs(1 - scale))
        width, height = (
            max(round(scale * edge / self.multiple_of), 1) * self.multiple_of for edge in (size.width, size.height)
        )
        return Size(width, height)


Rule = Size | ShortestEdge | RoundedUp | RoundedDown | Fitted
"""To what an image is resized: always the same, or by its own size."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a model wants of its input.

    Attributes:
        resize: To what the whole image is resized, its proportions lost or kept.
        resample: Pillow's number of the filter: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming.
        crop: The part that is cut from the middle of the resized image; None means all of it.
        scale: Factor for red, green and blue, from the range 0 to 255.
        bias: What is added to each channel after that.
        pad_multiple: The input's width and height are padded with zeros to multiples of this.
    """

    resize: Rule
    resample: int
    crop: Size | None
    scale: tuple[float, float, float]
    bias: tuple[float, float, float]
    pad_multiple: int = 1

    @property
    def fixed_input(self) -> Size | None:
        """The input's size where it is the same for all images."""
        if self.crop is not None:
            return self.crop
        return self.input(self.resize) if isinstance(self.resize, Size) else None

    def resized(self, size: Size) -> Size:
        """To what an image of this size is resized."""
        return self.resize if isinstance(self.resize, Size) else self.resize.resized(size)

    def input(self, resized: Size) -> Size:
        """The size of the input that a resized image makes."""
        return rounded_up(self.crop or resized, self.pad_multiple)

    def apply(self, image: Image.Image, resized: Size) -> NDArray[np.float32]:
        """The input of one image: shape (1, 3, height, width).

        Args:
            image: In mode RGB, of any size.
            resized: What `resized` gave for the size of the original, which `image` may be a reduction of.
        """
        image = image.resize((resized.width, resized.height), Image.Resampling(self.resample))
        if self.crop is not None and resized != self.crop:
            # Pillow fills what lies outside with black; floor division rounds the margins as transformers does.
            left = (resized.width - self.crop.width) // 2
            top = (resized.height - self.crop.height) // 2
            image = image.crop((left, top, left + self.crop.width, top + self.crop.height))
        size = self.input(resized)
        make = np.empty if (image.width, image.height) == (size.width, size.height) else np.zeros
        pixels = make((1, 3, size.height, size.width), np.float32)
        filled = pixels[0, :, : image.height, : image.width]
        filled[...] = np.asarray(image).transpose(2, 0, 1)  # turned first: scaling what lies apart takes twice as long
        filled *= np.asarray(self.scale, np.float32)[:, None, None]
        filled += np.asarray(self.bias, np.float32)[:, None, None]
        return pixels
