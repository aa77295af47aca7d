"""Sizes in pixels, and how a frame lies in the model's input. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    def turned(self) -> "Size":
        """The size after a quarter turn."""
        return Size(self.height, self.width)


@dataclass(frozen=True, slots=True)
class View:
    """How one frame lies in the model's input.

    Attributes:
        frame: The whole image as people see it: turned as its EXIF says.
        resized: To what the whole image was resized.
        input: The model's input: the resized image, cut or padded.
    """

    frame: Size
    resized: Size
    input: Size
