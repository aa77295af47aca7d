"""Small pictures of stored frames, for reports."""

from collections.abc import Callable, Iterable

from framemesh.errors import FrameNotFoundError, ImageTooLargeError, InvalidImageError
from framemesh.thumbnails import thumbnail

_WIDTH_PX, _HEIGHT_PX = 320, 240


def thumbnails(keys: Iterable[str], read: Callable[[str], bytes]) -> dict[str, bytes]:
    """JPEGs of at most 320x240 pixels by object key, of the frames that are still there and can be read."""
    found = {}
    for key in keys:
        try:
            found[key] = thumbnail(read(key), width_px=_WIDTH_PX, height_px=_HEIGHT_PX)
        except (FrameNotFoundError, InvalidImageError, ImageTooLargeError):
            continue
    return found
