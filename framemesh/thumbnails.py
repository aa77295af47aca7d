"""Small pictures of large ones. Pure: bytes in, bytes out."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import Image, ImageOps
from PIL.ExifTags import Base

from framemesh.errors import InvalidImageError
from framemesh.images import DAMAGE, opened

_QUALITY = 78
_FIRST_SIDEWAYS = 5
"""EXIF's orientations from here on swap width and height."""


def thumbnail(body: bytes, *, width_px: int, height_px: int) -> bytes:
    """A JPEG of an image, at most so wide and so high, turned as its EXIF says.

    A large JPEG is decoded at a half, a quarter or an eighth of its size, which takes a fifth of the time.

    Raises:
        InvalidImageError: Not an image that we read, or a damaged one.
        ImageTooLargeError: Over the limits.
    """
    image = opened(body)
    with reporting_damage():
        width, height = upright_size(image)
        factor = min(1.0, width_px / width, height_px / height)
        image.thumbnail((round(image.width * factor) or 1, round(image.height * factor) or 1), reducing_gap=1.0)
        out = BytesIO()
        ImageOps.exif_transpose(image).convert("RGB").save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height in pixels as an image is looked at, turned as its EXIF says."""
    width, height = image.size
    return (height, width) if image.getexif().get(Base.Orientation, 1) >= _FIRST_SIDEWAYS else (width, height)


@contextmanager
def reporting_damage() -> Iterator[None]:
    """Make an `InvalidImageError` of what Pillow's decoders raise on damaged pixels in the block."""
    try:
        yield
    except DAMAGE as error:
        raise InvalidImageError(f"the image is damaged: {error}") from None
