"""How far each archive has come, noted in NATS around each step that a crash may cut. The archiver writes it."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from json import dumps, loads

from nats.js.errors import KeyNotFoundError

from framemesh.bus import Bus
from framemesh.bus.streams import ARCHIVE_BUCKET


@dataclass(frozen=True, slots=True)
class Progress:
    """What is done of a stream, and what was begun.

    Attributes:
        stream: Which stream it is about: the time it was made at, as a stream made anew counts from 1 again.
        next: The first sequence that isn't in the table yet.
        last: The last sequence of the files being written from `next` on; 0 where none are.
        merged: The file being written in place of `sources`; empty where none is.
        sources: Files that go once `merged` is there.
    """

    stream: str
    next: int
    last: int = 0
    merged: str = ""
    sources: tuple[str, ...] = ()

    @staticmethod
    def of(created: datetime, noted: "Progress | None") -> "Progress":
        """What was noted, unless the stream was made anew since: then nothing of it is done."""
        stream = f"{created:%Y%m%dT%H%M%S%f}"
        return noted if noted is not None and noted.stream == stream else Progress(stream, next=1)


class Notebook:
    """One archive's progress. A second archiver that writes there too is found out, as both count revisions.

    Args:
        bus: Where it is kept.
        name: Of the archive.
    """

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self._name = name
        self._revision = 0
        self.noted: Progress | None = None

    async def read(self) -> None:
        """Read what was noted last; nothing, or nonsense, is none."""
        bucket = await self._bus.js.key_value(ARCHIVE_BUCKET)
        try:
            entry = await bucket.get(self._name)
        except KeyNotFoundError:
            self._revision, self.noted = 0, None
            return
        self._revision = entry.revision or 0
        try:
            words = loads(entry.value or b"")
            self.noted = Progress(**words | {"sources": tuple(words["sources"])})
        except (ValueError, TypeError, KeyError):
            self.noted = None

    async def note(self, progress: Progress) -> Progress:
        """Note it, durably, and return it.

        Raises:
            KeyWrongLastSequenceError: Somebody else noted something since: read again.
        """
        bucket = await self._bus.js.key_value(ARCHIVE_BUCKET)
        self._revision = await bucket.update(self._name, dumps(asdict(progress)).encode(), last=self._revision)
        self.noted = progress
        return progress

    async def change(self, progress: Progress, **fields: object) -> Progress:
        """Note it with some fields changed."""
        return await self.note(replace(progress, **fields))  # type: ignore[arg-type]
