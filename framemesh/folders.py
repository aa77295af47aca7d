"""Folders that appear whole or not at all, whoever makes them at the same time."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_UNFINISHED, _LOCK = ".unfinished", ".lock"


@contextmanager
def made_once(folder: Path, *, intact: Callable[[Path], bool]) -> Iterator[Path | None]:
    """Let the block fill a new folder that becomes `folder` when the block ends well.

    The block gets the path to fill, or none where `folder` is there and intact. A damaged one is replaced. Others
    who make the same folder wait, in any process of this machine.

    Raises:
        OSError: The folder can't be made there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}{_LOCK}").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the system lets go of it however this process ends
        if intact(folder):
            yield None
            return
        unfinished = folder.parent / f".{folder.name}{_UNFINISHED}"
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
        unfinished.mkdir()
        try:
            yield unfinished
            shutil.rmtree(folder, ignore_errors=True)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def linked(path: str, copy: str) -> None:
    """Have the same file under another name; where the file system has one name for each, as a copy."""
    try:
        os.link(path, copy)
    except OSError:
        shutil.copyfile(path, copy)


def clear_unfinished(root: Path) -> None:
    """Remove what those left who were killed while they made a folder anywhere below this one."""
    for unfinished in root.rglob(f".*{_UNFINISHED}"):
        lock_file = unfinished.with_suffix(_LOCK)
        with lock_file.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # somebody is at it
            shutil.rmtree(unfinished, ignore_errors=True)
