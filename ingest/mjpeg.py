"""MJPEG over HTTP: JPEGs without end, which pass byte for byte."""

import http.client
import time
from collections.abc import Iterator

from framemesh.errors import ImageTooLargeError, InvalidImageError, SourceUnavailableError
from framemesh.limits import MAX_IMAGE_BYTES
from ingest import troubles
from ingest.pictures import picture_of
from ingest.shots import Shot, Timing
from ingest.web import Door, hang_up, timestamp_ns

_LONGEST_LINE = 64 * 1024
_MOST_GARBAGE_BYTES = 4 * MAX_IMAGE_BYTES
_MOST_HEADERS = 64


class MjpegSource:
    """The JPEGs of an endless `multipart/x-mixed-replace`, whatever lies between its parts."""

    timing = Timing.LIVE

    def __init__(self, door: Door, response: http.client.HTTPResponse, *, stall_seconds: float) -> None:
        self.patience_seconds: float | None = stall_seconds
        self._door = door
        self._response = response
        # Cameras write it with and without its dashes, and some forget it in the header.
        self._boundary = b"--" + (response.headers.get_boundary() or "boundary").lstrip("-").encode()
        self._held: bytes | None = None

    def read(self) -> Shot:
        """The next picture.

        Raises:
            InvalidImageError: The next part is no sound picture.
            ImageTooLargeError: It is over `framemesh.limits`.
            SourceUnavailableError: The stream has ended.
            Stalled: It brings no pictures.
        """
        try:
            words = self._next_head()
            body = self._body(words.get("content-length", ""))
        except TimeoutError:
            raise troubles.stalled(self._door.shown, self._door.wait_seconds) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._door.told(error) from None
        return Shot(picture_of(body), timestamp_ns(words))

    def close(self) -> None:
        """Hang up."""
        hang_up(self._response)

    def _next_head(self) -> dict[str, str]:
        """The next part's header lines, by their names in small letters."""
        passed = 0
        for line in self._lines():
            if line.strip().endswith(self._boundary):
                break
            passed += len(line)
            if passed > _MOST_GARBAGE_BYTES:
                raise SourceUnavailableError(
                    f"source {self._door.shown}: it sends data, but no picture: is this its MJPEG URL?"
                )
        words: dict[str, str] = {}
        for line in self._lines():
            if not line.strip():
                break
            if len(words) > _MOST_HEADERS:
                raise InvalidImageError("a part of the MJPEG stream begins with garbage")
            name, _, value = line.decode("latin-1").partition(":")
            words[name.strip().lower()] = value.strip()
        return words

    def _body(self, length: str) -> bytes:
        if length.isdecimal() and int(length) <= MAX_IMAGE_BYTES:
            body = self._response.read(int(length))
            if len(body) < int(length):
                raise troubles.ended(self._door.shown)
            return body
        pieces: list[bytes] = []
        size = 0
        for line in self._lines():
            if line.startswith(self._boundary):
                self._held = line
                break
            size += len(line)
            if size <= MAX_IMAGE_BYTES:
                pieces.append(line)
        if size > MAX_IMAGE_BYTES:
            raise ImageTooLargeError(
                f"the picture has over {MAX_IMAGE_BYTES:,} bytes: have the camera send smaller ones"
            )
        return b"".join(pieces).removesuffix(b"\r\n")

    def _lines(self) -> Iterator[bytes]:
        """Line after line, for at most as long as a picture may take."""
        deadline = time.monotonic() + self._door.wait_seconds
        while True:
            line, self._held = self._held, None
            line = line or self._response.readline(_LONGEST_LINE)
            if not line:
                raise troubles.ended(self._door.shown)
            yield line
            if time.monotonic() > deadline:
                raise TimeoutError
