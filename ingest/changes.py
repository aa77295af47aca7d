"""Which pictures differ enough from the last one sent. Pure."""

from PIL import Image, ImageChops

CELLS = (64, 48)
"""A picture is compared as so many cells across and down: 20 x 15 pixels each at 1280 x 720."""
_NOISE = 8
"""Grey levels, of 255, by which a cell must differ: its mean varies by 1 or 2 with noise and compression."""


class ChangeFilter:
    """Compares each picture with the last one that it found worth sending, so that what creeps is noticed too.

    Args:
        min_change: Share of the cells that must differ.
        max_silence_seconds: After so long a picture is worth sending whatever it shows.
    """

    def __init__(self, *, min_change: float, max_silence_seconds: float) -> None:
        self._min_cells = min_change * CELLS[0] * CELLS[1]
        self._max_silence_seconds = max_silence_seconds
        self._last: Image.Image | None = None
        self._last_seconds = 0.0

    def passes(self, cells: Image.Image, now_seconds: float) -> bool:
        """Whether the picture is worth sending; it is then the one that others are compared with.

        Args:
            cells: The picture in mode L, of the size `CELLS`.
            now_seconds: By a clock that only runs forward.
        """
        if (
            self._last is not None
            and now_seconds - self._last_seconds < self._max_silence_seconds
            and changed_cells(self._last, cells) < self._min_cells
        ):
            return False
        self._last, self._last_seconds = cells, now_seconds
        return True


def changed_cells(one: Image.Image, other: Image.Image) -> int:
    """How many cells differ by more than noise."""
    return sum(ImageChops.difference(one, other).histogram()[_NOISE:])
