"""A folder of images as a camera: in name order, over and over, or each once and then what comes new."""

import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from framemesh.errors import ConfigurationError, ImageTooLargeError, InvalidImageError
from framemesh.frames import NANOSECONDS
from ingest.files import read_image
from ingest.pictures import JPEG, is_image, picture_of
from ingest.shots import Shot, Timing

_POLL_SECONDS = 0.25
_LISTING_SHARE = 0.1
"""Of the time, at most, goes into listing a folder of very many files."""
_SETTLED_SECONDS = 2.0
"""A file that was written to more recently may not be whole yet."""


class FolderSource:
    """Pictures from a folder. Files may come and go; a bad one is tried only once.

    Args:
        folder: Its own files count, none in folders within.
        loop: Round after round; else each file is shown once, and then those that come new or are written anew.

    Raises:
        ConfigurationError: The folder can't be read; or holds no image, and none is waited for.
    """

    timing = Timing.PACED
    patience_seconds = None

    def __init__(self, folder: Path, *, loop: bool) -> None:
        self._folder = folder
        self._loop = loop
        self._written_ns: dict[Path, int] = {}  # when each file that is not to be shown again was written
        self._round: deque[Path] = deque()
        self._list_next = 0.0
        self._is_listed = True
        if not any(is_image(_head(path)) for path in self._files()) and loop:
            raise self._empty()

    def read(self) -> Shot | None:
        """The next picture, as the file has it; none where new files are waited for, and there is none at present.

        Raises:
            InvalidImageError: The next file isn't a sound image; it is passed over from now on. Or new files are waited
                for, and the folder can't be read any more: said once, until it can.
            ImageTooLargeError: As above, for a file over `framemesh.limits`.
            ConfigurationError: The folder that is shown over and over can't be read, or holds no image any more.
        """
        if not self._round and (self._loop or time.monotonic() >= self._list_next):
            self._begin_round()
        while self._round:
            path = self._round.popleft()
            try:
                shot = self._shot(path, path.stat().st_mtime_ns)
            except OSError as error:
                raise InvalidImageError(f"{path} can't be read: {error.strerror}", path=path) from error
            if shot is not None:
                return shot
        if self._loop:
            raise self._empty()
        return None

    def close(self) -> None:
        """Nothing is held."""

    def _begin_round(self) -> None:
        began = time.monotonic()
        try:
            self._round.extend(self._files())
        except ConfigurationError as error:
            if self._loop:
                raise
            # Whoever opens the folder anew would show all of it again: only this object knows what was shown.
            was_listed, self._is_listed = self._is_listed, False
            if was_listed:
                raise InvalidImageError(str(error), path=self._folder) from error
        else:
            self._is_listed = True
        finally:
            self._list_next = began + max(_POLL_SECONDS, (time.monotonic() - began) / _LISTING_SHARE)

    def _shot(self, path: Path, written_ns: int) -> Shot | None:
        """The file's picture; none where its turn comes again, once it is whole."""
        settled = self._loop or not 0 <= time.time_ns() - written_ns < _SETTLED_SECONDS * NANOSECONDS
        try:
            picture = picture_of(read_image(path))
        except (InvalidImageError, ImageTooLargeError) as error:
            if not settled:
                return None
            self._written_ns[path] = written_ns
            raise type(error)(f"{path}: {error}", path=path) from error
        if not settled and picture.content_type != JPEG:  # which alone shows where it ends
            return None
        if not self._loop:
            self._written_ns[path] = written_ns
        return Shot(picture, captured_ns=None if self._loop else written_ns)

    def _files(self) -> list[Path]:
        """Those to be shown, in the order of their names."""
        written_ns: dict[Path, int] = {}
        try:
            paths = set(self._folder.iterdir())
            for path in paths:
                with suppress(FileNotFoundError):  # it went while we looked
                    if path.is_file():
                        written_ns[path] = path.stat().st_mtime_ns
        except OSError as error:
            raise self._unlisted(error) from error
        self._written_ns = {path: written for path, written in self._written_ns.items() if path in paths}
        return sorted(path for path, written in written_ns.items() if self._written_ns.get(path) != written)

    def _unlisted(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"source {self._folder} can't be listed: {error.strerror}: correct the path", path=self._folder
        )

    def _empty(self) -> ConfigurationError:
        return ConfigurationError(
            f"source {self._folder}: there is no image in it: put JPEG, PNG or WebP files there, or set loop: false to "
            "wait for them",
            path=self._folder,
        )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(12)
    except OSError:  # gone, or not ours to read; reading it says so
        return b""
