"""PNG files of masks and depths, written for speed: the answers to one frame may hold dozens. Pure.

Pillow tries five filters on each row and keeps one byte for each bit. Measured on one core at 1920x1080: a mask takes
1 ms here and 5.5 ms there, a depth 130 and 490 ms, at the same size of file.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY = 0
_NO_FILTER, _LEFT_FILTER = 0, 1


def of_mask(mask: NDArray[np.bool_]) -> bytes:
    """One bit a pixel, 1 for true, from a mask of shape (height, width)."""
    return _png(mask.shape, 1, _NO_FILTER, np.packbits(mask, axis=1))


def of_values(values: NDArray[np.uint16]) -> bytes:
    """16 bits a pixel, from values of shape (height, width)."""
    rows = values.astype(">u2").view(np.uint8)
    rows[:, 2:] -= rows[:, :-2].copy()  # each byte less the same one of its left neighbour: small numbers pack better
    return _png(values.shape, 16, _LEFT_FILTER, rows)


def _png(shape: tuple[int, ...], bits: int, row_filter: int, rows: NDArray[np.uint8]) -> bytes:
    height, width = shape
    pixels = np.insert(rows, 0, row_filter, axis=1)
    packer = zlib.compressobj(level=1, strategy=zlib.Z_RLE)  # repetition is all there is to find
    header = struct.pack(">IIBBBBB", width, height, bits, _GREY, 0, 0, 0)
    packed = packer.compress(pixels.data) + packer.flush()
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
