"""Pictures that tests make, good and bad."""

import struct
import zlib
from io import BytesIO

from PIL import Image


def encoded(kind: str, color: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    """A small picture as `JPEG`, `PNG` or `WEBP`; each color gives other bytes."""
    out = BytesIO()
    Image.new("RGB", size, (color % 256, color // 256 % 256, 90)).save(out, kind)
    return out.getvalue()


def jpeg(color: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    """A small JPEG; each color gives other bytes."""
    return encoded("JPEG", color, size)


def large_jpeg(size_bytes: int, color: int = 0) -> bytes:
    """A JPEG of exactly that many bytes, most of them comments."""
    small, comments = jpeg(color), b""
    left = size_bytes - len(small)
    while left:
        part = min(left, 65_000)
        if 0 < left - part < 4:  # a comment takes four bytes at least
            part -= 4
        comments += b"\xff\xfe" + struct.pack(">H", part - 2) + bytes(part - 4)
        left -= part
    return small[:2] + comments + small[2:]


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims a size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))
