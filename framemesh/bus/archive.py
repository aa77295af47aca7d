"""How far the lake's tables have come: archivers write, others read (`archive` in NATS's key-value store)."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from json import dumps, loads

from nats.js.errors import KeyNotFoundError

from framemesh.bus.connection import Bus, reporting
from framemesh.bus.states import StreamState
from framemesh.bus.streams import ARCHIVE_BUCKET, CORRECTIONS, RESULTS, SHADOWS, STORED

WRITE_NOW = "archive.write-now"
"""Subject of messages, of any body, on which archivers write what is new without waiting for their time."""
TABLES = {"frames": STORED, "results": RESULTS, "shadows": SHADOWS, "corrections": CORRECTIONS}
"""Each table's stream."""


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


def dump(progress: Progress) -> bytes:
    """An entry, as JSON so that people can read it with any NATS tool."""
    return dumps(asdict(progress)).encode()


def load(value: bytes | None) -> Progress | None:
    """What an entry says; none where it is nonsense."""
    try:
        words = loads(value or b"")
        return Progress(**words | {"sources": tuple(words["sources"])})
    except (ValueError, TypeError, KeyError):
        return None


def going_on(noted: Progress | None, created: datetime) -> Progress:
    """What was noted; where the stream was made anew since, nothing of it is done, but a merge still has its end."""
    stream = f"{created:%Y%m%dT%H%M%S%f}"
    if noted is None:
        return Progress(stream, next=1)
    return noted if noted.stream == stream else replace(noted, stream=stream, next=1, last=0)


async def archived_until(bus: Bus, table: str, stream: StreamState) -> int:
    """The newest sequence of a table's stream up to which all are in the table; 0 for none.

    Raises:
        BusUnavailableError: NATS can't say now.
    """
    with reporting("NATS can't say how far the archive is"):
        bucket = await bus.js.key_value(ARCHIVE_BUCKET)
        try:
            noted = load((await bucket.get(table)).value)
        except KeyNotFoundError:
            noted = None
    return going_on(noted, stream.created).next - 1


async def write_now(bus: Bus) -> None:
    """Ask archivers to write what is new at once; one that doesn't hear it does so when its time comes.

    Raises:
        BusUnavailableError: NATS can't be reached now.
    """
    with reporting("NATS can't be reached"):
        await bus.client.publish(WRITE_NOW)
