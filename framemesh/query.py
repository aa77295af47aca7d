"""SQL over the lake's tables, in the process that asks: DuckDB on Parquet that pyarrow reads from S3."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from framemesh.errors import ConfigurationError, FrameNotFoundError, InvalidRequestError, LakeUnavailableError
from framemesh.tables import FRAMES, TABLES, Table

_CONNECT_SECONDS = 2.0
_REQUEST_SECONDS = 30.0
_ATTEMPTS = 3
_FEW = 512
_PICTURES = "frames"  # the bucket
_REFUSALS = ("ACCESSDENIED", "SIGNATUREDOESNOTMATCH", "INVALIDACCESSKEYID")
_READING = "reading the stream registered as"
_SAFE: dict[str, str | bool | int | float | list[str]] = {
    # Whoever may ask for rows may not therefore read this machine's files, or load code.
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}
_LOCK = ("SET enable_external_access = false", "SET TimeZone = 'UTC'", "SET lock_configuration = true")


Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class LakePlace:
    """Where the lake is.

    Attributes:
        endpoint: As `http://host:port` or `https://host`.
        access_key: The key's name.
        secret_key: The key itself.
        region: The region that requests are signed for.
    """

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True)
class Rows:
    """What a query found.

    Attributes:
        columns: Their names.
        rows: Their values, each row as long as `columns`.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Each row by column."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)


class LakeTables:
    """Views of all tables, of the files that are there when this is made or refreshed.

    Attributes:
        cameras: Those of which there are frames, by name; known without reading a file.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, place: LakePlace) -> None:
        self._connection = connection
        self._place = place
        self._store = _store(place)
        self.cameras: list[str] = []
        self.refresh()

    def refresh(self) -> None:
        """See the files that are there now.

        Raises:
            ConfigurationError: The store refuses the keys.
            LakeUnavailableError: The store can't be reached.
        """
        for table in TABLES:
            paths = _paths(table, self._store, self._place.endpoint)
            self._connection.register(f"{table.name}_files", _dataset(table, self._store, paths))
            if table.name == FRAMES.name:
                self.cameras = sorted({path.split("/")[1].removeprefix("camera=") for path in paths})

    def check_cameras(self, names: Sequence[str]) -> None:
        """Pass where there are frames of each of these cameras.

        Raises:
            FrameNotFoundError: There are none of one; the message names the cameras that there are.
        """
        for name in names:
            if name not in self.cameras:
                known = ", ".join(self.cameras) or "none"
                raise FrameNotFoundError(f"the lake has no frames of camera {name!r}; it has those of: {known}")

    def ask(self, sql: str, **values: object) -> Rows:
        """Run a statement; `$name` in it stands for a value.

        Raises:
            InvalidRequestError: The statement is wrong, or wants what it may not have; DuckDB's words say which.
            LakeUnavailableError: The lake stopped answering, or has a file that is none of the table's.
        """
        return self._done(sql, values, lambda done: Rows(_columns(done), done.fetchall()))

    def stream(self, sql: str, **values: object) -> Iterator[tuple[Any, ...]]:
        """As `ask`, row by row, without ever holding more than a few hundred as Python's own; ask nothing meanwhile."""
        few = self._done(sql, values, lambda done: done.fetchmany(_FEW))
        while few:
            yield from few
            few = self._connection.fetchmany(_FEW)

    def picture(self, object_key: str) -> bytes:
        """A stored frame, as the camera sent it.

        Raises:
            FrameNotFoundError: There is none under that key, or its time in the lake is over.
            LakeUnavailableError: The store can't be read.
        """
        try:
            with self._store.open_input_stream(f"{_PICTURES}/{object_key}") as stream:
                return bytes(stream.read())
        except FileNotFoundError as error:
            raise FrameNotFoundError(f"no frame is stored under {object_key!r}: its time may be over") from error
        except OSError as error:
            raise LakeUnavailableError(f"the lake can't be read: {_first_line(error)}") from error

    def _done(self, sql: str, values: dict[str, object], take: Callable[[duckdb.DuckDBPyConnection], Found]) -> Found:
        for attempt in range(_ATTEMPTS):
            try:
                return self._once(sql, values, take)
            except LakeUnavailableError:
                if attempt == _ATTEMPTS - 1:
                    raise
                self.refresh()  # files may have been merged since they were listed
        raise AssertionError

    def _once(self, sql: str, values: dict[str, object], take: Callable[[duckdb.DuckDBPyConnection], Found]) -> Found:
        try:
            done = self._connection.execute(sql, values or None)
            if done is None:
                raise InvalidRequestError("the statement is empty: try SELECT * FROM frames LIMIT 10")
            return take(done)
        except duckdb.InterruptException:
            raise KeyboardInterrupt from None
        except duckdb.Error as error:
            words = _words(error)
            if _READING in words:  # what pyarrow says of a file, whatever the class
                raise LakeUnavailableError(f"the lake can't be read: {words.split('failed: ', 1)[-1]}") from error
            raise InvalidRequestError(words) from error


@contextmanager
def tables(place: LakePlace, *, as_of: datetime | None = None) -> Iterator[LakeTables]:
    """The lake's tables around the block.

    Args:
        place: Where the lake is.
        as_of: The views have what was stored, answered and corrected until then; without it, all that there is.

    Raises:
        ConfigurationError: The endpoint is no URL, or the store refuses the keys.
        LakeUnavailableError: The store can't be reached.
    """
    with duckdb.connect(config=_SAFE) as connection:
        found = LakeTables(connection, place)
        for statement in (*(_view(table, as_of) for table in TABLES), *_LOCK):
            connection.execute(statement)
        yield found


def _view(table: Table, as_of: datetime | None) -> str:
    """The newest row of each name. Partitions are part of the name, so that conditions on them reach the files."""
    name = ", ".join(dict.fromkeys((*table.partitions.names, *table.key)))
    known = f"WHERE {table.newest} <= TIMESTAMPTZ '{as_of.isoformat()}' " if as_of else ""
    there = f" AND NOT {table.removed}" if table.removed else ""
    return (
        f"CREATE VIEW {table.name} AS SELECT * FROM {table.name}_files {known}"  # noqa: S608 - our own names
        f"QUALIFY row_number() OVER (PARTITION BY {name} ORDER BY {table.newest} DESC) = 1{there}"
    )


def _store(place: LakePlace) -> fs.S3FileSystem:
    parts = urlsplit(place.endpoint)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ConfigurationError(f"{place.endpoint!r} is no S3 endpoint: write http://host:port")
    return fs.S3FileSystem(
        endpoint_override=parts.netloc,
        scheme=parts.scheme,
        access_key=place.access_key,
        secret_key=place.secret_key,
        region=place.region,
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_REQUEST_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )


def _paths(table: Table, store: fs.S3FileSystem, endpoint: str) -> list[str]:
    """A table's files, and nothing else that may lie in its bucket; none where nothing was archived yet."""
    selector = fs.FileSelector(table.bucket, recursive=True, allow_not_found=True)
    try:
        return [info.path for info in store.get_file_info(selector) if table.holds(info.path.partition("/")[2])]
    except OSError as error:
        words = _first_line(error)
        if any(code in words.upper().replace("_", "") for code in _REFUSALS):
            raise ConfigurationError(f"the S3 server at {endpoint} refuses us; check the S3 keys") from error
        raise LakeUnavailableError(f"the S3 server at {endpoint} can't be read: {words}") from error


def _dataset(table: Table, store: fs.S3FileSystem, paths: Sequence[str]) -> ds.Dataset:
    """The rows of a table's files."""
    columns = pa.schema([*table.columns, *table.partitions])
    if not paths:
        return ds.dataset(columns.empty_table())
    partitioning = ds.partitioning(table.partitions, flavor="hive")
    return ds.dataset(list(paths), schema=columns, filesystem=store, format="parquet", partitioning=partitioning)


def _columns(done: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    return tuple(column[0] for column in done.description or ())


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _words(error: duckdb.Error) -> str:
    """What DuckDB says before it quotes the statement, in one line: its guess at what was meant is part of it."""
    return " ".join(str(error).partition("\n\nLINE ")[0].split()) or type(error).__name__
