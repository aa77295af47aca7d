"""From a stream to a table: every message becomes one row, once, whatever is killed in between.

Before files are written, the bounds of what they will hold are noted. Whoever comes after a crash reads the same
messages again and writes the same rows under the same names.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

import nats.errors
import structlog
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg

from archiver import files
from archiver.merging import Merger
from archiver.metrics import ArchiverMetrics
from archiver.progress import Notebook
from archiver.rows import Partition, Row
from framemesh.bus import Bus
from framemesh.bus.archive import WRITE_NOW, Progress, going_on
from framemesh.bus.reading import between
from framemesh.bus.states import stream_state
from framemesh.errors import BusUnavailableError, FrameNotFoundError, LakeUnavailableError
from framemesh.lake import Lake
from framemesh.tables import Table
from framemesh.waiting import Backoff, happens

log = structlog.get_logger()

_ROWS = 16_384
_BYTES = 32 * 1024 * 1024
_RETRY_SECONDS = (0.5, 10.0)
_PASSING = (BusUnavailableError, LakeUnavailableError, nats.errors.Error, TimeoutError)


@dataclass(frozen=True, slots=True)
class Feed:
    """Which stream becomes which table.

    Attributes:
        stream: Its name.
        table: What its messages become.
        row: Makes a row of a message's body; none where it is somebody else's.
    """

    stream: str
    table: Table
    row: Callable[[bytes], tuple[Partition, Row] | None]


@dataclass(frozen=True, slots=True)
class _Batch:
    last: int
    rows: dict[Partition, list[Row]]


class Archive:
    """Keeps one table up to date with its stream.

    Args:
        bus: Where the stream and the notes are.
        lake: The table's bucket.
        feed: Which stream becomes which table.
        metrics: What is counted.
        seconds: How often new rows are written.
    """

    def __init__(self, bus: Bus, lake: Lake, feed: Feed, metrics: ArchiverMetrics, *, seconds: float) -> None:
        self.name = f"archive of {feed.table.name}"
        self._bus = bus
        self._lake = lake
        self._feed = feed
        self._metrics = metrics
        self._seconds = seconds
        self._notebook = Notebook(bus, feed.table.name)
        self._merger = Merger(lake, feed.table, self._notebook, metrics)
        self._stopping = asyncio.Event()
        self._asked = asyncio.Event()
        self._backoff = Backoff(*_RETRY_SECONDS)
        metrics.start_table(feed.table.name)

    async def run(self) -> None:
        """Write what is new until stopped, then what came until then."""
        await self._bus.client.subscribe(WRITE_NOW, cb=self._on_asked)
        while True:
            last_round = self._stopping.is_set()
            self._asked.clear()
            try:
                more = await self._write_new()
                if not last_round:
                    await self._merger.work()
            except _PASSING as error:
                log.warning("archive.put_off", table=self._feed.table.name, error=str(error) or type(error).__name__)
                await happens(self._stopping, within=self._backoff.next_seconds())
                more = not last_round
            else:
                self._backoff.reset()
                if not more and not last_round:
                    await happens(self._asked, within=self._seconds)
            if last_round and not more:
                return

    def stop(self) -> None:
        """Write once more what is new."""
        self._stopping.set()
        self._asked.set()

    async def _on_asked(self, _: Msg) -> None:
        self._asked.set()

    async def _write_new(self) -> bool:
        """Write one batch of new rows, and say whether there is more."""
        await self._notebook.read()
        stream = await stream_state(self._bus, self._feed.stream)
        progress = going_on(self._notebook.noted, stream.created)
        newest = stream.last
        self._metrics.waiting.labels(self._feed.table.name).set(newest + 1 - progress.next)
        if not progress.last and newest < progress.next:
            return False
        begun = bool(progress.last)
        batch = await self._read(progress.next, progress.last or newest, whole=begun)
        progress = await self._notebook.change(progress, last=batch.last)
        written = await asyncio.gather(
            *(self._write(progress, partition, rows, begun=begun) for partition, rows in batch.rows.items())
        )
        await self._notebook.change(progress, next=batch.last + 1, last=0)
        self._merger.wrote(written)
        self._metrics.waiting.labels(self._feed.table.name).set(newest - batch.last)
        return batch.last < newest

    async def _read(self, first: int, last: int, *, whole: bool) -> _Batch:
        """Rows of the stream's messages from `first` on: to `last`, or unless `whole`, as many as a batch may hold."""
        name = self._feed.table.name
        rows: dict[Partition, list[Row]] = defaultdict(list)
        count = size = 0
        async with aclosing(between(self._bus, self._feed.stream, first, last)) as messages:
            async for message in messages:
                sequence = message.metadata.sequence.stream
                found = None
                with suppress(DecodeError, ValueError, OverflowError):
                    found = self._feed.row(message.data)
                if found is None:
                    log.warning("archive.foreign_message", table=name, subject=message.subject, sequence=sequence)
                    self._metrics.foreign.labels(name).inc()
                else:
                    rows[found[0]].append(found[1])
                count += 1
                size += len(message.data)
                if not whole and (count >= _ROWS or size >= _BYTES):
                    last = sequence
                    break
        return _Batch(last, dict(rows))

    async def _write(self, progress: Progress, partition: Partition, rows: list[Row], *, begun: bool) -> str:
        """Write one partition's file, and return the partition's prefix.

        One that was `begun` may be there: it is whole then, while the stream may have lost rows of it to its limits.
        """
        table = self._feed.table
        prefix = partition.prefix(table.partitions)
        key = f"{prefix}{progress.stream}-{progress.next:019}.parquet"
        if begun:
            with suppress(FrameNotFoundError):
                await self._lake.get(key)
                return prefix
        body = await asyncio.to_thread(files.write, rows, table.columns)
        await self._lake.put(key, body, content_type=files.CONTENT_TYPE, metadata={})
        self._metrics.rows.labels(table.name).inc(len(rows))
        self._metrics.files.labels(table.name, "new").inc()
        return prefix
