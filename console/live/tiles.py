"""Pictures of frames as the page Live shows them. Pure: bytes in, bytes out."""

from dataclasses import dataclass
from io import BytesIO

from PIL import ImageOps

from framemesh.images import opened
from framemesh.thumbnails import reporting_damage, upright_size

_QUALITY = 72


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture of a frame, with the whole frame's size in pixels, as it is looked at."""

    body: bytes
    width_px: int
    height_px: int


def tile(body: bytes, width_px: int) -> Picture:
    """A JPEG of a frame, from `width_px` to twice that wide: as its decoder scales it, as there are many a second.

    Raises:
        InvalidImageError: Not an image that we read, or a damaged one.
        ImageTooLargeError: Over the limits.
    """
    image = opened(body)
    with reporting_damage():
        size = upright_size(image)
        if image.format in {"JPEG", "MPO"}:
            goal = (width_px, max(1, width_px * image.height // image.width))
            image.draft("YCbCr", goal)  # straight to the JPEG's own colours and back
        else:
            image.thumbnail((2 * width_px, 2 * width_px))
            image = image.convert("RGB")
        out = BytesIO()
        ImageOps.exif_transpose(image).save(out, "JPEG", quality=_QUALITY)
    return Picture(out.getvalue(), *size)


def whole(body: bytes) -> Picture:
    """A frame as it is.

    Raises:
        InvalidImageError: Not an image that we read, or one that stops short.
        ImageTooLargeError: Over the limits.
    """
    image = opened(body)
    with reporting_damage():
        return Picture(body, *upright_size(image))
