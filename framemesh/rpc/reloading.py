"""Files that somebody else replaces while we run: a renewed certificate, a token taken back."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from framemesh.errors import ConfigurationError

log = structlog.get_logger()

Content = TypeVar("Content")
FileState = tuple[int, int, int, int] | None


class Reloaded(Generic[Content]):
    """What some files say, read again whenever they change.

    Files that can't be used, while only one of a pair has been replaced for instance, are logged once and leave what
    was read before. A look at unchanged files costs some microseconds.

    Args:
        paths: The files; symbolic links, as Kubernetes mounts secrets, are followed.
        load: Reads them, or raises `ConfigurationError`.

    Raises:
        ConfigurationError: They can't be used now, at the start.
    """

    def __init__(self, paths: tuple[Path, ...], load: Callable[[], Content]) -> None:
        self._paths = paths
        self._load = load
        self._state = self._look()
        self._content = load()

    def now(self) -> Content:
        """What the files say now."""
        state = self._look()
        if state != self._state:
            self._state = state  # first: what changes while we read is read once more
            paths = [str(path) for path in self._paths]
            try:
                self._content = self._load()
            except ConfigurationError as error:
                log.error("files.unusable", paths=paths, error=str(error))  # noqa: TRY400 - its words are all there is
            else:
                log.info("files.reloaded", paths=paths)
        return self._content

    def _look(self) -> tuple[FileState, ...]:
        return tuple(file_state(path) for path in self._paths)


def file_state(path: Path) -> FileState:
    """What differs once a file was written or replaced, through symbolic links; none where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
