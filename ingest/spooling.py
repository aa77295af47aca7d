"""A camera's frames on disk while NATS can't take them: files of records, written at the end and read at the front.

What is appended survives the process at once, and a power failure from the next `sync` on, one second later at most
while frames come. Files that a killed process or a failed disk left torn lose only the records that are torn.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ingest import records
from ingest.buffers import Frame, Keep, Kept, Losses, Place
from ingest.records import Outline

log = structlog.get_logger()

_SUFFIX = ".frames"
_MOST_FILE_BYTES = 16 * 1024 * 1024
_FILES = 8  # at least, where the buffer is full: the oldest go by the file
_SYNC_SECONDS = 1.0
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # these say nothing of the file: it can be read later


@dataclass(eq=False, slots=True)
class _File:
    """One file of the spool.

    Attributes:
        path: Its name is its number; they count up.
        size_bytes: What it takes, done or not.
        waiting: How many of its frames are not done.
        read_offset: All before is done.
        holds: How many of its frames are under way.
        done: Where frames are that were done by this process: the disk may not have taken their marks.
        descriptor: Open for reading, and writing where the disk lets; none while it isn't in use.
    """

    path: Path
    size_bytes: int = 0
    waiting: int = 0
    read_offset: int = 0
    holds: int = 0
    done: set[int] = field(default_factory=set)
    descriptor: int | None = None
    gone: bool = False

    def open(self) -> int:
        if self.descriptor is None:
            try:
                self.descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            except OSError as error:
                if error.errno != errno.EROFS:
                    raise
                self.descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)  # its frames can be sent
        return self.descriptor

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


@dataclass(eq=False, slots=True)
class _Place:
    file: _File
    outline: Outline


class Spool:
    """The buffer of one camera in a folder of its own, which one process at a time may use.

    Args:
        folder: Made if it isn't there. What is there from before comes first.
        max_bytes: What its files may take together.
        leave_bytes: How much of the disk it leaves free for others.
        keep: Which frames stay where there is no room for all; the oldest go by the file, at most 16 MiB
            or an eighth of it all.

    Raises:
        OSError: The folder can't be made, read or locked.
    """

    durable = True

    def __init__(self, folder: Path, *, max_bytes: int, leave_bytes: int, keep: Keep) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._leave_bytes = leave_bytes
        self._keep = keep
        self._file_bytes = min(_MOST_FILE_BYTES, max_bytes // _FILES)
        self._losses = Losses()
        self._synced = time.monotonic()
        self._unsynced = False
        self._log = structlog.get_logger().bind(folder=str(folder))
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            paths = [path for path in folder.iterdir() if path.suffix == _SUFFIX and path.stem.isdecimal()]
        except OSError:
            os.close(self._lock)
            raise
        paths.sort(key=_number)
        self._next = _number(paths[-1]) + 1 if paths else 1
        self._files = list(self._found(paths))
        self._last: _File | None = None  # that is written to; never one of another process, whose end may be torn
        self.frames = sum(file.waiting for file in self._files)
        self.size_bytes = sum(file.size_bytes for file in self._files)

    def append(self, frames: Sequence[Frame]) -> list[Place | None]:
        """See `Buffer`."""
        places: list[Place | None] = [self._append(frame) for frame in frames]
        if time.monotonic() > self._synced + _SYNC_SECONDS:
            self.sync()
        return places

    def take(self, frames: int, size_bytes: int) -> list[Kept]:
        """See `Buffer`."""
        taken: list[Kept] = []
        try:
            self._take(taken, frames, size_bytes)
        except OSError as error:  # for now: the order stays
            self._problem(error)
        return taken

    def _take(self, taken: list[Kept], frames: int, size_bytes: int) -> None:
        """Read the oldest frames.

        Raises:
            OSError: It can't be told what there is, as the system is short of something.
        """
        for file in list(self._files):
            before = len(taken)
            for place in self._waiting(file):
                if taken and (len(taken) == frames or size_bytes < place.outline.size):
                    return
                frame = self._load(place)
                if frame is None:
                    self._losses.damaged += 1
                    self._finish(place)
                    if file.gone:
                        break
                    continue
                taken.append(Kept(frame, place))
                size_bytes -= place.outline.size
            if len(taken) == before and not file.gone:  # read to its end, and nothing there
                self._lose(file)

    def done(self, places: Sequence[Place]) -> None:
        """See `Buffer`."""
        for place in places:
            if isinstance(place, _Place):
                self._finish(place)

    def hold(self, places: Sequence[Place]) -> None:
        """See `Buffer`."""
        for place in places:
            if isinstance(place, _Place):
                place.file.holds += 1

    def release(self, places: Sequence[Place]) -> None:
        """See `Buffer`."""
        for place in places:
            if isinstance(place, _Place):
                place.file.holds -= 1

    def losses(self) -> Losses:
        """See `Buffer`."""
        losses, self._losses = self._losses, Losses()
        return losses

    def sync(self) -> None:
        """See `Buffer`."""
        self._synced = time.monotonic()
        if not self._unsynced:
            return
        self._unsynced = False
        try:
            if self._last is not None:
                os.fdatasync(self._last.open())
        except OSError as error:
            self._problem(error)

    def close(self) -> None:
        """See `Buffer`."""
        self.sync()
        for file in list(self._files):
            if file.waiting:
                file.close()
            else:
                self._delete(file)
        os.close(self._lock)

    def _found(self, paths: Sequence[Path]) -> Iterator[_File]:
        """What earlier processes left; files without a frame that waits are deleted."""
        for path in paths:
            file = _File(path)
            try:
                file.size_bytes = path.stat().st_size
                found = list(records.outlines(file.open()))
                file.close()
                if torn := file.size_bytes - sum(outline.size for outline in found):
                    self._losses.damaged += 1
                    self._log.warning("spool.file_torn", file=path.name, size_bytes=torn)
                file.waiting = sum(not outline.done for outline in found)
                if file.waiting:
                    yield file
                else:
                    path.unlink()
            except OSError as error:  # one that can't be read must not hide the others
                self._log.warning("spool.file_unreadable", file=path.name, error=str(error))

    def _append(self, frame: Frame) -> _Place | None:
        parts = records.dump(frame)
        size = sum(map(len, parts))
        if not self._make_room(size):
            return None
        try:
            file = self._file_for(size)
            _write(file.open(), parts, file.size_bytes)
        except OSError as error:
            self._losses.disk_failed += 1
            self._problem(error)
            self._cut()
            return None
        place = _Place(file, Outline(file.size_bytes, size, done=False))
        file.size_bytes += size
        file.waiting += 1
        self.size_bytes += size
        self.frames += 1
        self._unsynced = True
        return place

    def _make_room(self, size: int) -> bool:
        """Whether there is room, by our own bound and on the disk, after letting old frames go where they may."""
        if size > self._max_bytes:
            self._losses.refused += 1
            return False
        while True:
            over = self.size_bytes + size > self._max_bytes
            try:
                free = os.statvfs(self._folder)
                short = free.f_bavail * free.f_frsize < size + self._leave_bytes
            except OSError as error:
                self._problem(error)
                short = True
            if not (over or short):
                return True
            victim = next((file for file in self._files if not file.holds), None) if self._keep == "newest" else None
            lost = 1 if victim is None else victim.waiting
            if over:
                self._losses.refused += lost
            else:
                self._losses.disk_failed += lost
                self._losses.problem = f"less than {self._leave_bytes:,} bytes are free on the disk of {self._folder}"
            if victim is None:
                return False
            self.frames -= victim.waiting
            self._delete(victim)

    def _file_for(self, size: int) -> _File:
        """The file for a record of that size: the last one, or a new one where that is long enough."""
        if self._last is not None and not self._last.gone and self._last.size_bytes + size <= self._file_bytes:
            return self._last
        self.sync()
        if self._last is not None and not self._last.gone:
            self._retire(self._last)
        path = self._folder / f"{self._next:012d}{_SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._next += 1
        self._last = _File(path, descriptor=descriptor)
        self._files.append(self._last)
        folder = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # else the file may be without a name after a power failure
        finally:
            os.close(folder)
        return self._last

    def _cut(self) -> None:
        """Take back what a failed write left at the end, and write to another file from now on."""
        if self._last is None:
            return
        with suppress(OSError):
            os.ftruncate(self._last.open(), self._last.size_bytes)
        if not self._last.gone:
            self._retire(self._last)
        self._last = None

    def _retire(self, file: _File) -> None:
        """Write no more to a file."""
        if file.waiting:
            file.close()
        else:
            self._delete(file)

    def _waiting(self, file: _File) -> Iterator[_Place]:
        """The file's frames that are not done."""
        first = True
        try:
            for outline in records.outlines(file.open(), file.read_offset):
                if not outline.done and outline.offset not in file.done:
                    first = False
                    yield _Place(file, outline)
                elif first:
                    file.read_offset = outline.offset + outline.size
        except OSError as error:
            self._unreadable(error)

    def _load(self, place: _Place) -> Frame | None:
        try:
            return records.load(place.file.open(), place.outline)
        except OSError as error:
            self._unreadable(error)
            return None

    def _finish(self, place: _Place) -> None:
        """Mark a frame as done; a file whose last that was goes, but for the one that is written to."""
        file = place.file
        if file.gone or place.outline.offset in file.done:
            return
        file.done.add(place.outline.offset)
        try:
            records.set_done(file.open(), place.outline)
        except OSError as error:  # the next process may send it once more: NATS knows its id
            self._problem(error)
        file.waiting -= 1
        self.frames -= 1
        if not file.waiting and file is not self._last:
            self._delete(file)

    def _lose(self, file: _File) -> None:
        """Let a file go in which there is nothing to send, any more or to be read."""
        self._losses.damaged += file.waiting
        self.frames -= file.waiting
        self._delete(file)

    def _delete(self, file: _File) -> None:
        file.close()
        file.gone = True
        self._files.remove(file)
        self.size_bytes -= file.size_bytes
        try:
            file.path.unlink()
        except OSError as error:
            self._problem(error)

    def _unreadable(self, error: OSError) -> None:
        if error.errno in _SCARCE:
            raise error
        self._problem(error)

    def _problem(self, error: OSError) -> None:
        read_only = error.errno == errno.EBADF  # the file was opened for reading alone
        why = os.strerror(errno.EROFS) if read_only else error.strerror or error
        self._losses.problem = f"the disk of {self._folder} fails: {why}"


def _number(path: Path) -> int:
    return int(path.stem)


def _write(descriptor: int, parts: list[bytes], offset: int) -> None:
    """Write all of it, or raise."""
    whole = sum(map(len, parts))
    written = os.pwritev(descriptor, parts, offset)
    if written < whole:  # the disk is filling up: the rest says so
        rest = b"".join(parts)[written:]
        while rest:
            written = os.pwrite(descriptor, rest, offset + whole - len(rest))
            rest = rest[written:]
