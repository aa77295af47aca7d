"""Frames just stored, held in memory for the models that keep up."""

from collections import OrderedDict


class FrameHold:
    """The newest frames by object key, up to a number of bytes; the oldest go first.

    Args:
        max_bytes: How much to hold; 0 holds nothing.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._frames: OrderedDict[str, bytes] = OrderedDict()
        self.size_bytes = 0

    def put(self, key: str, body: bytes) -> None:
        """Hold a frame, in place of older ones."""
        self.size_bytes -= len(self._frames.pop(key, b""))
        self._frames[key] = body
        self.size_bytes += len(body)
        while self.size_bytes > self._max_bytes:
            _, oldest = self._frames.popitem(last=False)
            self.size_bytes -= len(oldest)

    def get(self, key: str) -> bytes | None:
        """The frame's bytes, if they are still held."""
        return self._frames.get(key)
