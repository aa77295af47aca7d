"""Making a picture smaller that NATS would refuse: coarser first, then fewer pixels. Pure."""

from ingest.pictures import Picture, Size, decode, encode, fitted

STEPS = ((1.0, 80), (1.0, 60), (1.0, 40), (0.75, 60), (0.5, 60), (0.35, 60), (0.25, 50))
"""What is tried, in this order: the share of width and height that is kept, and the JPEG quality."""


def shrunk(body: bytes, *, limit_bytes: int) -> Picture | None:
    """The picture as the first of `STEPS` that takes no more than so many bytes; none where not one does.

    Raises:
        InvalidImageError: It can't be decoded.
        ImageTooLargeError: It has more pixels than `framemesh.limits` lets decode.
    """
    image = decode(body, at_least=None)
    for share, quality in STEPS:
        size = Size(max(1, round(image.width * share)), max(1, round(image.height * share)))
        smaller = encode(fitted(image, size), quality=quality)
        if len(smaller.body) <= limit_bytes:
            return smaller
    return None
