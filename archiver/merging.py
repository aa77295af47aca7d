"""Small files of a partition become one larger one: queries open few files, not one for every ten seconds.

What is to be merged is noted first. A crash leaves either the old files, or the new one and some old ones, which the
next start deletes.
"""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import structlog

from archiver import files
from archiver.metrics import ArchiverMetrics
from framemesh.bus.notes import Notebook, Progress
from framemesh.errors import FrameNotFoundError
from framemesh.lake import Lake, StoredObject
from framemesh.tables import Table

log = structlog.get_logger()

_SMALL_BYTES = 32 * 1024 * 1024
_MANY = 16
_QUIET_SECONDS = 600.0


@dataclass(slots=True)
class _Folder:
    files: int  # about as many
    touched: float = field(default_factory=time.monotonic)


class Merger:
    """Merges the files of partitions that have many, or that nothing new comes to.

    Args:
        lake: The table's bucket.
        table: Whose files they are.
        notebook: The archive's own.
        metrics: What is counted.
    """

    def __init__(self, lake: Lake, table: Table, notebook: Notebook, metrics: ArchiverMetrics) -> None:
        self._lake = lake
        self._table = table
        self._notebook = notebook
        self._metrics = metrics
        self._folders: dict[str, _Folder] | None = None  # those where a merge may be due

    def wrote(self, prefixes: Iterable[str]) -> None:
        """Say that partitions have one new file each."""
        if self._folders is not None:  # else the first look finds them
            for prefix in prefixes:
                folder = self._folders.setdefault(prefix, _Folder(1))
                folder.files += 1
                folder.touched = time.monotonic()

    async def work(self) -> None:
        """Merge what there is to merge.

        Raises:
            LakeUnavailableError: Not now; what was begun is finished the next time.
        """
        await self._finish()
        if self._folders is None:
            counts = Counter(f"{key.rpartition('/')[0]}/" for key in await self._lake.keys(""))
            self._folders = {prefix: _Folder(count) for prefix, count in counts.items() if count > 1}
        for prefix, folder in list(self._folders.items()):
            quiet = time.monotonic() > folder.touched + _QUIET_SECONDS
            if folder.files < _MANY and not quiet:
                continue
            sources = small(await self._lake.objects(prefix))
            folder.files = len(sources)
            if folder.files >= (2 if quiet else _MANY):
                await self._merge(prefix, sources)
                folder.files = 1
            if quiet:
                del self._folders[prefix]

    async def _merge(self, prefix: str, sources: Sequence[str]) -> None:
        progress = self._notebook.noted
        if progress is None:
            return
        read = [(await self._lake.get(key))[0] for key in sources]
        try:
            body = await asyncio.to_thread(files.merge, read, self._table.columns)
        except pa.ArrowInvalid as error:
            log.warning("archive.foreign_file", prefix=prefix, error=str(error))
            return
        digest = hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]
        merged = f"{prefix}merged-{digest}.parquet"
        progress = await self._notebook.change(progress, merged=merged, sources=tuple(sources))
        await self._lake.put(merged, body, content_type=files.CONTENT_TYPE, metadata={})
        await self._retire(progress)
        self._metrics.files.labels(self._table.name, "merged").inc()
        log.info("archive.merged", table=self._table.name, prefix=prefix, files=len(sources), bytes=len(body))

    async def _finish(self) -> None:
        """Finish a merge that was cut."""
        progress = self._notebook.noted
        if progress is None or not progress.merged:
            return
        try:
            await self._lake.get(progress.merged)
        except FrameNotFoundError:  # cut before it was written: the old files are all there still
            await self._notebook.change(progress, merged="", sources=())
        else:
            await self._retire(progress)

    async def _retire(self, progress: Progress) -> None:
        """Delete the files that a merged one, which is there, stands for."""
        await self._lake.delete(*progress.sources)
        await self._notebook.change(progress, merged="", sources=())


def small(found: Iterable[StoredObject]) -> list[str]:
    """The files that merging helps, as many as make one of the wanted size."""
    chosen, size = [], 0
    for each in found:
        if each.size_bytes < _SMALL_BYTES // 2 and size < _SMALL_BYTES:
            chosen.append(each.key)
            size += each.size_bytes
    return chosen
