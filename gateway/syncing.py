"""Frames in an S3 server on this machine that answers before its disk has them: they wait for a sync of that disk.

JuiceFS with files and badger, as `framemesh up` runs it, syncs nothing by itself (100 puts make no fsync): what it has
acknowledged lies in the kernel's memory for up to half a minute. One sync serves all frames that wait, in 6 to 24 ms
for 32 of them, and takes hardly any CPU.
"""

import asyncio
import ctypes
import os
from pathlib import Path

from framemesh.errors import LakeUnavailableError

_libc = ctypes.CDLL(None, use_errno=True)


class DiskSync:
    """Syncs a file system, once for all that wait.

    Args:
        folder: A folder on it; none means that the S3 server keeps its word.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def synced(self) -> None:
        """Return once everything that was written before this call is on the disk.

        Raises:
            LakeUnavailableError: It is not: store it again.
        """
        if self._folder is None:
            return
        if self._next is None:  # one that runs already may have passed what was written last
            self._next = asyncio.create_task(self._sync(self._folder))
        await asyncio.shield(self._next)

    async def _sync(self, folder: Path) -> None:
        if self._running is not None:
            await asyncio.wait((self._running,))
        self._running, self._next = self._next, None
        try:
            await asyncio.to_thread(sync_disk, folder)
        except OSError as error:
            raise LakeUnavailableError(f"the disk of {folder} can't be synced: {error.strerror}") from error


def sync_disk(folder: Path) -> None:
    """Write all that the kernel holds for a folder's file system.

    Raises:
        OSError: The folder is gone, or the disk fails.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        if _libc.syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(handle)
