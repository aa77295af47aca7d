"""SQL over the lake's tables, in the process that asks: DuckDB on Parquet that pyarrow reads from S3."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from framemesh.errors import (
    ConfigurationError,
    DeadlineError,
    FrameNotFoundError,
    InvalidRequestError,
    LakeUnavailableError,
)
from framemesh.tables import FRAMES, RESULTS, SHADOWS, TABLES, Table

_VARIABLES = ("FRAMEMESH_S3_ENDPOINT", "FRAMEMESH_S3_ACCESS_KEY", "FRAMEMESH_S3_SECRET_KEY")
_CHOICES = {"region": "FRAMEMESH_S3_REGION", "frames_bucket": "FRAMEMESH_S3_FRAMES_BUCKET"}
_CONNECT_SECONDS = 2.0
_REQUEST_SECONDS = 30.0
_ATTEMPTS = 3
_FEW = 512
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
        frames_bucket: The bucket of frames; those of the tables have names of their own.
    """

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    frames_bucket: str = "frames"

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Self:
        """The lake that the usual variables name, as services read them.

        Raises:
            ConfigurationError: One is missing.
        """
        missing = [name for name in _VARIABLES if not variables.get(name)]
        if missing:
            raise ConfigurationError(f"{' and '.join(missing)} must be set: `framemesh env` prints those of a mesh")
        endpoint, access_key, secret_key = (variables[name] for name in _VARIABLES)
        chosen = {name: value for name, variable in _CHOICES.items() if (value := variables.get(variable))}
        return cls(endpoint, access_key, secret_key, **chosen)


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
        models: Those of which there are results, alike.
        shadows: Those of which there are answers that they gave as shadows, alike.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, place: LakePlace) -> None:
        self._connection = connection
        self._place = place
        self._store = _store(place)
        self._files: dict[str, dict[str, datetime]] = {}  # the hour of each file, by table and path
        self._span: tuple[datetime, datetime] | None = None
        self._interrupted = False
        self.cameras: list[str] = []
        self.models: list[str] = []
        self.shadows: list[str] = []
        self.refresh()

    def refresh(self) -> None:
        """See the files that are there now.

        Raises:
            ConfigurationError: The store refuses the keys.
            LakeUnavailableError: The store can't be reached.
        """
        self._files = {table.name: _files(table, self._store, self._place.endpoint) for table in TABLES}
        owners = (_owners(self._files[table.name]) for table in (FRAMES, RESULTS, SHADOWS))
        self.cameras, self.models, self.shadows = owners
        self._register()

    def hours(self, table: Table) -> list[datetime]:
        """The hours of the table's files, the oldest first; known without reading a file."""
        return sorted(set(self._files[table.name].values()))

    @contextmanager
    def between(self, first: datetime, last: datetime) -> Iterator[None]:
        """Around the block, only the files from one hour to another are there, and nothing else is read.

        Conditions on `date` and `hour` can't say "from 22:00 until 03:00" so that whole folders are left out.
        """
        self._span = (first, last)
        self._register()
        try:
            yield
        finally:
            self._span = None
            self._register()

    def interrupt(self) -> None:
        """From another thread: let what is asked, and what is asked from now on, end with a `DeadlineError`.

        A statement that begins at this very moment may miss it: call it until the asking has ended.
        """
        self._interrupted = True
        self._connection.interrupt()

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
            DeadlineError: It was interrupted.
            LakeUnavailableError: The lake stopped answering, or has a file that is none of the table's.
        """
        return self._done(sql, values, lambda done: Rows(_columns(done), done.fetchall()))

    def stream(self, sql: str, **values: object) -> Iterator[tuple[Any, ...]]:
        """As `ask`, row by row, without ever holding more than a few hundred as Python's own; ask nothing meanwhile."""
        few = self._done(sql, values, lambda done: done.fetchmany(_FEW))
        while few:
            yield from few
            with self._reporting():
                few = self._connection.fetchmany(_FEW)

    def picture(self, object_key: str) -> bytes:
        """A stored frame, as the camera sent it.

        Raises:
            FrameNotFoundError: There is none under that key, or its time in the lake is over.
            LakeUnavailableError: The store can't be read.
        """
        try:
            with self._store.open_input_stream(f"{self._place.frames_bucket}/{object_key}") as stream:
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

    def keep(self, name: str, sql: str) -> None:
        """Keep what a user's query gives as a table of that name, for as long as these tables are open.

        Raises:
            InvalidRequestError: It is wrong, or no query.
            LakeUnavailableError: As `ask`.
        """
        try:
            statements = self._connection.extract_statements(sql)
        except duckdb.Error as error:
            raise InvalidRequestError(_words(error)) from error
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            raise InvalidRequestError("this takes one query: SELECT ... FROM frames, results or corrections")
        self.ask(f"CREATE OR REPLACE TEMP TABLE {name} AS\n{statements[0].query.rstrip().rstrip(';')}\n")

    def _register(self) -> None:
        for table in TABLES:
            files = self._files[table.name].items()
            paths = [path for path, hour in files if self._span is None or self._span[0] <= hour <= self._span[1]]
            self._connection.register(f"{table.name}_files", _dataset(table, self._store, paths))

    def _once(self, sql: str, values: dict[str, object], take: Callable[[duckdb.DuckDBPyConnection], Found]) -> Found:
        with self._reporting():
            done = self._connection.execute(sql, values or None)
            if done is None:
                raise InvalidRequestError("the statement is empty: try SELECT * FROM frames LIMIT 10")
            return take(done)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        if self._interrupted:
            raise _stopped()
        try:
            yield
        except duckdb.InterruptException:
            if self._interrupted:
                raise _stopped() from None
            raise KeyboardInterrupt from None
        except duckdb.OutOfMemoryException as error:
            raise InvalidRequestError(
                "the query needs more memory than it may have: ask for less, or for less time"
            ) from error
        except duckdb.Error as error:
            words = _words(error)
            if _READING in words:  # what pyarrow says of a file, whatever the class
                raise LakeUnavailableError(f"the lake can't be read: {words.split('failed: ', 1)[-1]}") from error
            raise InvalidRequestError(words) from error


@contextmanager
def tables(place: LakePlace, *, as_of: datetime | None = None, memory_bytes: int | None = None) -> Iterator[LakeTables]:
    """The lake's tables around the block.

    Args:
        place: Where the lake is.
        as_of: The views have what was stored, answered and corrected until then; without it, all that there is.
        memory_bytes: What a query may take, which fails where it needs more; none is DuckDB's own limit, then the disk.

    Raises:
        ConfigurationError: The endpoint is no URL, or the store refuses the keys.
        LakeUnavailableError: The store can't be reached.
    """
    bounds = {} if memory_bytes is None else {"memory_limit": f"{memory_bytes}B", "temp_directory": ""}
    with duckdb.connect(config={**_SAFE, **bounds}) as connection:
        found = LakeTables(connection, place)
        clock = _clock(as_of) if as_of else ()
        for statement in (*(_view(table, as_of) for table in TABLES), *clock, *_LOCK):
            connection.execute(statement)
        yield found


def _clock(as_of: datetime) -> Iterator[str]:
    """What makes SQL's own words for now say that time, so that the same query gives the same."""
    now = f"TIMESTAMPTZ '{as_of.isoformat()}'"
    for name in ("now", "get_current_timestamp", "transaction_timestamp"):
        yield f"CREATE MACRO {name}() AS {now}"
    for name in ("current_date", "today"):
        yield f"CREATE MACRO {name}() AS ({now})::DATE"
    yield f"CREATE MACRO current_localtimestamp() AS ({now})::TIMESTAMP"
    yield f"CREATE MACRO get_current_time() AS ({now})::TIMETZ"
    yield f"CREATE MACRO current_localtime() AS ({now})::TIMESTAMP::TIME"


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


def _files(table: Table, store: fs.S3FileSystem, endpoint: str) -> dict[str, datetime]:
    """A table's files, each with its hour; what else may lie in the bucket is left out."""
    selector = fs.FileSelector(table.bucket, recursive=True, allow_not_found=True)
    try:
        paths = [info.path for info in store.get_file_info(selector)]
    except OSError as error:
        words = _first_line(error)
        if any(code in words.upper().replace("_", "") for code in _REFUSALS):
            raise ConfigurationError(f"the S3 server at {endpoint} refuses us; check the S3 keys") from error
        raise LakeUnavailableError(f"the S3 server at {endpoint} can't be read: {words}") from error
    return {path: hour for path in paths if (hour := table.hour(path.partition("/")[2])) is not None}


def _owners(paths: Iterable[str]) -> list[str]:
    """The values of the files' first partition."""
    return sorted({path.split("/")[1].partition("=")[2] for path in paths})


def _dataset(table: Table, store: fs.S3FileSystem, paths: Sequence[str]) -> ds.Dataset:
    """The rows of a table's files."""
    columns = pa.schema([*table.columns, *table.partitions])
    if not paths:
        return ds.dataset(columns.empty_table())
    partitioning = ds.partitioning(table.partitions, flavor="hive")
    return ds.dataset(list(paths), schema=columns, filesystem=store, format="parquet", partitioning=partitioning)


def _columns(done: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    return tuple(column[0] for column in done.description or ())


def _stopped() -> DeadlineError:
    return DeadlineError("the query took too long and was stopped: ask for less, or for less time")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _words(error: duckdb.Error) -> str:
    """What DuckDB says before it quotes the statement, in one line: its guess at what was meant is part of it."""
    return " ".join(str(error).partition("\n\nLINE ")[0].split()) or type(error).__name__
