"""How large a request may be. Apart from `framemesh.images`, so that a client needs no image library."""

from dataclasses import dataclass

from framemesh.errors import ImageTooLargeError

MAX_IMAGE_BYTES = 8 * 1024 * 1024
MAX_IMAGE_PIXELS = 50_000_000
"""Room for an 8K camera (33 megapixels); a decoded RGB image of this size takes 150 MB."""
MAX_LABELS = 256
"""What a zero-shot model may be asked to look for in one image."""
MAX_LABEL_LENGTH = 256
"""Characters of one such label."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """How large an image may be, in bytes as it comes and in pixels as its header claims."""

    max_bytes: int = MAX_IMAGE_BYTES
    max_pixels: int = MAX_IMAGE_PIXELS


LARGEST = ImageLimits()
"""What no part of framemesh goes beyond."""


def check_size(size_bytes: int, limits: ImageLimits = LARGEST) -> None:
    """Pass sizes up to the limit.

    Raises:
        ImageTooLargeError: Over it.
    """
    if size_bytes > limits.max_bytes:
        raise ImageTooLargeError(
            f"the image has {size_bytes:,} bytes; the limit is {limits.max_bytes:,}: scale it down or compress it more",
            size_bytes=size_bytes,
            limit_bytes=limits.max_bytes,
        )
