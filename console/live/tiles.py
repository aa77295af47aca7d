"""Small pictures of frames. Pure: bytes in, bytes out."""

from dataclasses import dataclass
from io import BytesIO

from PIL import ImageOps
from PIL.ExifTags import Base

from framemesh.errors import InvalidImageError
from framemesh.images import opened

_QUALITY = 72
_UPRIGHT = 1
_FIRST_SIDEWAYS = 5


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture of a frame, with the whole frame's size in pixels, as it is looked at."""

    body: bytes
    width_px: int
    height_px: int


def tile(body: bytes, width_px: int) -> Picture:
    """A JPEG of a frame, from `width_px` to twice that wide: as its decoder scales it, which costs a fifth.

    Raises:
        InvalidImageError: Not an image that we read, or a damaged one.
        ImageTooLargeError: Over the limits.
    """
    image = opened(body)
    try:
        orientation = image.getexif().get(Base.Orientation, _UPRIGHT)
        size = _upright(image.size, orientation)
        goal = (width_px, max(1, width_px * image.height // image.width))
        if image.format in {"JPEG", "MPO"}:
            image.draft("YCbCr", goal)  # straight to the JPEG's own colours and back
        else:
            image.thumbnail((2 * width_px, 2 * width_px))
            image = image.convert("RGB")
        if orientation != _UPRIGHT:
            image = ImageOps.exif_transpose(image)
        out = BytesIO()
        image.save(out, "JPEG", quality=_QUALITY)
    except (OSError, SyntaxError, ValueError, IndexError, TypeError, OverflowError) as error:
        raise InvalidImageError(f"the image is damaged: {error}") from None
    return Picture(out.getvalue(), *size)


def whole(body: bytes) -> Picture:
    """A frame as it is.

    Raises:
        InvalidImageError: Not an image that we read, or one that stops short.
        ImageTooLargeError: Over the limits.
    """
    image = opened(body)
    return Picture(body, *_upright(image.size, image.getexif().get(Base.Orientation, _UPRIGHT)))


def _upright(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation >= _FIRST_SIDEWAYS else size
