"""Frames as bytes in a file, one behind the other, so that a torn or damaged one is recognised and passed over.

A record is a mark, a byte that says whether the frame is done (0 or 1), the sizes of what follows, a CRC-32 of sizes
and content, the message's headers as JSON, and the picture. The byte alone ever changes, so it is outside the CRC.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from framemesh.frames import MESSAGE_ID, FrameId
from framemesh.limits import MAX_IMAGE_BYTES
from ingest.buffers import Frame

_FIXED = struct.Struct("<4sBHII")  # mark, done, size of the headers, size of the picture, CRC
_SIZES = struct.Struct("<HI")
_MARK = b"\xf5fmF"
_DONE_OFFSET = 4
_SEARCH_BYTES = 1 << 20
_MAX_BODY_BYTES = 2 * MAX_IMAGE_BYTES


@dataclass(frozen=True, slots=True)
class Outline:
    """Where a record is, and what it says of itself.

    Attributes:
        offset: Where it begins in its file.
        size: All that it takes, in bytes.
        done: Whether its frame is done.
    """

    offset: int
    size: int
    done: bool


def dump(frame: Frame) -> list[bytes]:
    """A record in its parts, of a frame that is not done."""
    head = json.dumps(frame.headers, separators=(",", ":")).encode()
    sizes = _SIZES.pack(len(head), len(frame.body))
    crc = zlib.crc32(frame.body, zlib.crc32(head, zlib.crc32(sizes)))
    return [_FIXED.pack(_MARK, 0, len(head), len(frame.body), crc), head, frame.body]


def outlines(file: int, offset: int = 0) -> Iterator[Outline]:
    """Every record of a file that is there to its end, by their first bytes alone; what is between them is passed over.

    Args:
        file: A file descriptor.
        offset: Where to begin.

    Raises:
        OSError: The file can't be read.
    """
    end = os.fstat(file).st_size
    while offset < end:
        outline = _outline(os.pread(file, _FIXED.size, offset), offset, end)
        if outline is None:
            offset = _search(file, offset + 1, end)
        else:
            yield outline
            offset += outline.size


def set_done(file: int, outline: Outline) -> None:
    """Note that a record's frame is done.

    Raises:
        OSError: The file can't be written.
    """
    os.pwrite(file, b"\x01", outline.offset + _DONE_OFFSET)


def load(file: int, outline: Outline) -> Frame | None:
    """The frame of a record; none where its bytes are not those that were written.

    Raises:
        OSError: The file can't be read.
    """
    record = os.pread(file, outline.size, outline.offset)
    if len(record) < outline.size:
        return None
    _, _, head_size, body_size, crc = _FIXED.unpack_from(record)
    content = memoryview(record)[_FIXED.size :]
    if zlib.crc32(content, zlib.crc32(_SIZES.pack(head_size, body_size))) != crc:
        return None
    headers = json.loads(bytes(content[:head_size]))
    frame_id = FrameId.parse(headers.get(MESSAGE_ID, ""))
    return None if frame_id is None else Frame(frame_id, bytes(content[head_size:]), headers)


def _outline(fixed: bytes, offset: int, end: int) -> Outline | None:
    if len(fixed) < _FIXED.size:
        return None
    mark, done, head_size, body_size, _ = _FIXED.unpack(fixed)
    size = _FIXED.size + head_size + body_size
    if mark != _MARK or body_size > _MAX_BODY_BYTES or offset + size > end:
        return None
    return Outline(offset, size, bool(done))


def _search(file: int, offset: int, end: int) -> int:
    """Where the next mark is; the end where there is none."""
    while offset < end:
        found = os.pread(file, _SEARCH_BYTES, offset)
        place = found.find(_MARK)
        if place >= 0:
            return offset + place
        if len(found) < len(_MARK):
            return end
        offset += len(found) - len(_MARK) + 1
    return end
