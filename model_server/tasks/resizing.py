"""Resizing of a network's maps, equal to `torch.nn.functional.interpolate` without `align_corners`. Pure."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from model_server.geometry import Size

Floats = NDArray[np.float32]
_Taps = tuple[NDArray[np.intp], Floats]
"""Which places of the source each place of the target is made of, and how much of each: both (taps, target)."""

_BLOCK = 16
"""Rows and columns of a map that are looked at together; 8 to 32 take about the same time."""


def bilinear(maps: Floats, size: Size) -> Floats:
    """Maps of shape (..., height, width) at another size, linear between the places."""
    height, width = maps.shape[-2:]
    return _across(_down(maps, _linear_taps(height, size.height)), _linear_taps(width, size.width))


def bicubic(maps: Floats, size: Size) -> Floats:
    """Maps of shape (..., height, width) at another size, by cubic convolution: it can overshoot them."""
    height, width = maps.shape[-2:]
    return _across(_down(maps, _cubic_taps(height, size.height)), _cubic_taps(width, size.width))


def nearest(maps: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Maps of shape (..., height, width) at another size, each place that of the source at or before it."""
    rows, columns = _nearest(maps.shape[-2], size.height), _nearest(maps.shape[-1], size.width)
    return maps[..., rows[:, None], columns]


def winners(scores: Floats, size: Size) -> NDArray[np.intp]:
    """The class with the greatest score at each place of `bilinear(scores, size)`; of equal ones the first.

    Within a block of the map no class can win whose greatest score is under the least one of another, since what is
    linear stays between its ends. For 150 classes that leaves a few: 1080p takes a tenth of the time, and no more
    memory than the answer.

    Args:
        scores: Shape (classes, height, width).
        size: Of the answer.
    """
    rows, columns = _linear_taps(scores.shape[1], size.height), _linear_taps(scores.shape[2], size.width)
    found = np.empty((size.height, size.width), np.intp)
    for down, from_top, top_taps in _blocks(rows):
        for right, from_left, left_taps in _blocks(columns):
            part = scores[:, from_top, from_left]
            least, most = part.min(axis=(1, 2)), part.max(axis=(1, 2))
            able = np.flatnonzero(~(most < least.max()))  # so that all stay where one is no number
            if able.size == 1:
                found[down, right] = able[0]
            else:
                found[down, right] = able[_across(_down(part[able], top_taps), left_taps).argmax(axis=0)]
    return found


def _blocks(taps: _Taps) -> list[tuple[slice, slice, _Taps]]:
    """The target in parts: each with the part of the source that it is made of, and its taps within that."""
    places, shares = taps
    starts = np.flatnonzero(np.diff(places[0] // _BLOCK, prepend=-1))
    blocks = []
    for start, stop in zip(starts, [*starts[1:], places.shape[1]], strict=True):
        first, last = int(places[0, start]), int(places[-1, stop - 1])
        blocks.append(
            (slice(start, stop), slice(first, last + 1), (places[:, start:stop] - first, shares[:, start:stop]))
        )
    return blocks


def _down(maps: Floats, taps: _Taps) -> Floats:
    """The maps with other rows."""
    places, shares = taps
    found: Floats = maps[..., places[0], :] * shares[0][:, None]
    for place, share in zip(places[1:], shares[1:], strict=True):
        found += maps[..., place, :] * share[:, None]
    return found


def _across(maps: Floats, taps: _Taps) -> Floats:
    """The maps with other columns."""
    places, shares = taps
    found: Floats = maps.take(places[0], axis=-1)
    found *= shares[0]
    for place, share in zip(places[1:], shares[1:], strict=True):
        part = maps.take(place, axis=-1)
        part *= share
        found += part
    return found


@lru_cache(maxsize=64)
def _linear_taps(source: int, target: int) -> _Taps:
    centers = np.maximum((np.arange(target) + 0.5) * (source / target) - 0.5, 0)
    before = np.minimum(centers.astype(np.intp), source - 1)
    share = centers - before
    return np.stack([before, np.minimum(before + 1, source - 1)]), np.stack([1 - share, share]).astype(np.float32)


@lru_cache(maxsize=64)
def _cubic_taps(source: int, target: int) -> _Taps:
    centers = (np.arange(target) + 0.5) * (source / target) - 0.5
    before = np.floor(centers)
    share = centers - before
    places = np.clip(before.astype(np.intp) + np.arange(-1, 3)[:, None], 0, source - 1)
    shares = [_far(share + 1), _near(share), _near(1 - share), _far(2 - share)]
    return places, np.stack(shares).astype(np.float32)


_CUBIC = -0.75  # torch's; Pillow has -0.5


def _near(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic kernel up to a distance of 1."""
    return ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1


def _far(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic kernel from a distance of 1 to 2."""
    return _CUBIC * (((distance - 5) * distance + 8) * distance - 4)


def _nearest(source: int, target: int) -> NDArray[np.intp]:
    step = np.float32(source) / np.float32(target)  # torch's own precision decides on which side a place falls
    places: NDArray[np.intp] = np.floor(np.arange(target, dtype=np.float32) * step).astype(np.intp)
    return np.minimum(places, source - 1)
