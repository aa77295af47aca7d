"""What an encoded image claims to be, read from its header without decoding it."""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from framemesh.errors import ImageTooLargeError, InvalidImageError
from framemesh.limits import LARGEST, ImageLimits, check_size

FORMATS = ("JPEG", "PNG", "WEBP")
"""What is read; a decoder that no camera needs is only a way in for hostile files."""

DAMAGE = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, OverflowError, EOFError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow's parsers and decoders raise on damaged data, by their sources."""

_MAX_PARTS = 2000  # an 8 MiB file of nothing but ICC profile has 128
_JPEG_SCAN = 0xDA
_JPEG_WITHOUT_LENGTH = {0x00, 0x01, 0xFF, *range(0xD0, 0xDA)}  # ITU-T T.81, table B.1
_JPEG_TAIL = 64 * 1024  # some cameras pad, or append their own data, after the end marker


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """An image's own description of itself."""

    content_type: str
    width_px: int
    height_px: int


def read_header(body: bytes, limits: ImageLimits = LARGEST) -> ImageHeader:
    """Read an image's header, in less than 0.1 ms for what cameras send and a few ms for the worst.

    Raises:
        InvalidImageError: Not a JPEG, PNG or WebP, or one that stops short.
        ImageTooLargeError: Over the limits.
    """
    image = opened(body, limits)
    return ImageHeader(_content_type(image), *image.size)


def opened(body: bytes, limits: ImageLimits = LARGEST) -> Image.Image:
    """The image, of which no more than the header is read.

    A JPEG must also have its end marker, which a cut transfer lacks. Damage in the middle shows only in decoding.

    Raises:
        InvalidImageError: Not a JPEG, PNG or WebP, or one that stops short.
        ImageTooLargeError: Over the limits.
    """
    check_size(len(body), limits)
    if not body:
        raise InvalidImageError("the image is empty: send the bytes of a JPEG, PNG or WebP file")
    if _parts_before_pixels(body) > _MAX_PARTS:
        raise InvalidImageError("the image's header is damaged: it has more parts than any camera writes")
    try:
        image = Image.open(BytesIO(body), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # both over our own limit
        raise ImageTooLargeError(
            f"the image claims more pixels than any camera has; the limit is {limits.max_pixels:,}",
            limit_pixels=limits.max_pixels,
        ) from None
    except UnidentifiedImageError:
        raise InvalidImageError(
            "no image that framemesh reads, or one that stops in its header: send the bytes of a JPEG, PNG or WebP file"
        ) from None
    except DAMAGE as error:
        raise InvalidImageError(f"the image's header is damaged: {error}") from None
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            f"the image has {width} x {height} pixels; the limit is {limits.max_pixels:,} in all: scale it down",
            width_px=width,
            height_px=height,
            limit_pixels=limits.max_pixels,
        )
    if _content_type(image) == "image/jpeg" and body.rfind(b"\xff\xd9", -_JPEG_TAIL) < 0:  # backwards: it is the end
        raise InvalidImageError("the JPEG stops short: its end marker is missing; was the transfer cut?")
    return image


def _content_type(image: Image.Image) -> str:
    return "image/jpeg" if image.format == "MPO" else Image.MIME[image.format or ""]


def _parts_before_pixels(body: bytes) -> int:
    """How many steps Pillow's own parser takes to a JPEG's or PNG's pixels, counted up to a little over the limit.

    It takes each in Python: a hostile file of 8 MiB keeps it, and with it the event loop, busy for seconds.
    """
    parts = 0
    if body.startswith(b"\xff\xd8"):
        place = 2
        while place + 4 <= len(body) and parts <= _MAX_PARTS:
            parts += 1
            if body[place] != 0xFF or body[place + 1] in _JPEG_WITHOUT_LENGTH:
                place += 1 if body[place] != 0xFF or body[place + 1] == 0xFF else 2
            elif body[place + 1] == _JPEG_SCAN:
                break
            else:
                place += 2 + int.from_bytes(body[place + 2 : place + 4], "big")
    elif body.startswith(b"\x89PNG"):
        place = 8
        while place + 8 <= len(body) and parts <= _MAX_PARTS and body[place + 4 : place + 8] != b"IDAT":
            parts += 1
            place += 12 + int.from_bytes(body[place : place + 4], "big")
    return parts
