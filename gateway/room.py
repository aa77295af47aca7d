"""Room for callers' images: beyond it they are refused at once, rather than all of them answered too late."""

from collections.abc import Iterator
from contextlib import contextmanager

from framemesh.errors import OverloadedError
from gateway.metrics import GatewayMetrics


class Room:
    """How many images, and how many bytes of them, calls may hold at once.

    Args:
        max_images: Counted from before an image is received. There may be as many streams of them, too.
        max_bytes: Counted once it is.
        metrics: Told what is held and what is refused.
    """

    def __init__(self, max_images: int, max_bytes: int, metrics: GatewayMetrics) -> None:
        self._max_images = max_images
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._images = 0
        self._bytes = 0
        self._streams = 0

    @contextmanager
    def image(self) -> Iterator[None]:
        """Hold one image during the block.

        Raises:
            OverloadedError: As many are held already.
        """
        if self._images >= self._max_images:
            raise self._full("images", f"{self._max_images:,} images")
        self._images += 1
        self._metrics.call_images.set(self._images)
        try:
            yield
        finally:
            self._images -= 1
            self._metrics.call_images.set(self._images)

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Hold one stream during the block: each receives an image before there is a word of its size.

        Raises:
            OverloadedError: As many are held already.
        """
        if self._streams >= self._max_images:
            raise self._full("streams", f"{self._max_images:,} streams")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    @contextmanager
    def bytes(self, size_bytes: int) -> Iterator[None]:
        """Hold an image's bytes during the block.

        Raises:
            OverloadedError: With them there would be too many.
        """
        if self._bytes + size_bytes > self._max_bytes:
            raise self._full("bytes", f"{self._max_bytes:,} bytes of images")
        self._bytes += size_bytes
        self._metrics.call_bytes.set(self._bytes)
        try:
            yield
        finally:
            self._bytes -= size_bytes
            self._metrics.call_bytes.set(self._bytes)

    def _full(self, limit: str, held: str) -> OverloadedError:
        self._metrics.shed.labels(limit).inc()
        return OverloadedError(
            f"the gateway is busy: it holds no more than {held} at once; ask again in a moment, or fewer at a time",
            limit=limit,
        )
