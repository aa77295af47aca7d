"""Small pictures of stored frames, for reports."""

from collections.abc import Callable, Iterable
from io import BytesIO

from PIL import ImageOps

from framemesh.errors import FrameNotFoundError, ImageTooLargeError, InvalidImageError
from framemesh.images import opened

_SIZE_PX = (320, 240)
_QUALITY = 80


def thumbnails(keys: Iterable[str], read: Callable[[str], bytes]) -> dict[str, bytes]:
    """JPEGs of at most 320x240 pixels by object key, of the frames that are still there and can be read."""
    found = {}
    for key in keys:
        try:
            found[key] = thumbnail(read(key))
        except (FrameNotFoundError, InvalidImageError, ImageTooLargeError):
            continue
    return found


def thumbnail(body: bytes) -> bytes:
    """A small JPEG of a frame, upright.

    Raises:
        InvalidImageError: It is no image that we read, or a broken one.
        ImageTooLargeError: It is over the limits.
    """
    image = opened(body)
    try:
        image.draft("RGB", _SIZE_PX)  # a JPEG decodes straight to about that size
        small = ImageOps.exif_transpose(image.convert("RGB"))
        small.thumbnail(_SIZE_PX)
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidImageError(f"the image is damaged: {error}") from None
    out = BytesIO()
    small.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
