"""How far an archive has come, noted in NATS's key-value store before and after each step that a crash may cut."""

from dataclasses import replace

from nats.js.errors import KeyNotFoundError

from framemesh.bus import Bus
from framemesh.bus.archive import Progress, dump, load
from framemesh.bus.streams import ARCHIVE_BUCKET


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
        except KeyNotFoundError as missing:  # where it was deleted, that has a revision too
            self._revision, self.noted = (missing.entry.revision if missing.entry else 0), None
            return
        self._revision = entry.revision or 0
        self.noted = load(entry.value)

    async def note(self, progress: Progress) -> Progress:
        """Note it, durably, and return it.

        Raises:
            KeyWrongLastSequenceError: Somebody else noted something since: read again.
        """
        bucket = await self._bus.js.key_value(ARCHIVE_BUCKET)
        self._revision = await bucket.update(self._name, dump(progress), last=self._revision)
        self.noted = progress
        return progress

    async def change(self, progress: Progress, **fields: object) -> Progress:
        """Note it with some fields changed."""
        return await self.note(replace(progress, **fields))  # type: ignore[arg-type]
