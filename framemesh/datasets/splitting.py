"""Which split a frame belongs to, by its camera and time alone. Pure.

Frames of one camera within a block of time show nearly the same, so a block goes to one split as a whole. Which one is
decided by a hash of it: it stays there however the lake grows, and whatever else is chosen.
"""

import hashlib
from functools import lru_cache

from framemesh.datasets.recipes import Split
from framemesh.frames import NANOSECONDS


class Splitter:
    """Deals out the blocks of all cameras.

    Args:
        split: How.
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._of_block = lru_cache(maxsize=4096)(self._hashed)

    def block(self, captured_ns: int) -> int:
        """Number of the block of time that a frame lies in, from Unix time 0."""
        return captured_ns // (self._split.group_seconds * NANOSECONDS)

    def place(self, camera: str, captured_ns: int) -> str | None:
        """The split of a frame; none where the camera's next block is another's and begins within the gap."""
        block = self.block(captured_ns)
        own = self._of_block(camera, block)
        until_next = (block + 1) * self._split.group_seconds * NANOSECONDS - captured_ns
        if until_next <= self._split.gap_seconds * NANOSECONDS and self._of_block(camera, block + 1) != own:
            return None
        return own

    def _hashed(self, camera: str, block: int) -> str:
        digest = hashlib.sha256(f"{self._split.seed}/{camera}/{block}".encode()).digest()
        point = int.from_bytes(digest[:8], "big") / 2**64
        reached = 0.0
        chosen = ""
        for name, share in self._split.shares.items():
            reached += share
            if share:
                chosen = name
                if point < reached:
                    break
        return chosen
