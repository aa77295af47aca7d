"""How large a request may be. Apart from `framemesh.images`, so that a client needs no image library."""

from framemesh.errors import ImageTooLargeError

MAX_IMAGE_BYTES = 8 * 1024 * 1024
MAX_IMAGE_PIXELS = 50_000_000
"""Room for an 8K camera (33 megapixels); a decoded RGB image of this size takes 150 MB."""
MAX_LABELS = 256
"""What a zero-shot model may be asked to look for in one image."""
MAX_LABEL_LENGTH = 256
"""Characters of one such label."""


def check_size(size_bytes: int) -> None:
    """Pass sizes up to the limit.

    Raises:
        ImageTooLargeError: Over `MAX_IMAGE_BYTES`.
    """
    if size_bytes > MAX_IMAGE_BYTES:
        raise ImageTooLargeError(
            f"the image has {size_bytes:,} bytes; the limit is {MAX_IMAGE_BYTES:,}: scale it down or compress it more",
            size_bytes=size_bytes,
            limit_bytes=MAX_IMAGE_BYTES,
        )
