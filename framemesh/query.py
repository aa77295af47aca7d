"""SQL over the lake's tables, in the process that asks: DuckDB on Parquet that pyarrow reads from S3."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from framemesh.errors import ConfigurationError, FrameNotFoundError, InvalidRequestError, LakeUnavailableError
from framemesh.tables import FRAMES, TABLES, Table

_VARIABLES = ("FRAMEMESH_S3_ENDPOINT", "FRAMEMESH_S3_ACCESS_KEY", "FRAMEMESH_S3_SECRET_KEY")
_CONNECT_SECONDS = 2.0
_REQUEST_SECONDS = 30.0
_ATTEMPTS = 3
_ROWS_AT_ONCE = 1000
_REFUSALS = ("ACCESSDENIED", "SIGNATUREDOESNOTMATCH", "INVALIDACCESSKEYID")
_READING = "reading the stream registered as"
_SAFE: dict[str, str | bool | int | float | list[str]] = {
    # Whoever may ask for rows may not therefore read this machine's files, or load code.
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}
_LOCK = ("SET enable_external_access = false", "SET TimeZone = 'UTC'", "SET lock_configuration = true")


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
        return cls(endpoint, access_key, secret_key, variables.get("FRAMEMESH_S3_REGION") or "us-east-1")


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
    """The views `frames`, `results` and `corrections`, of the files that are there when this is made or refreshed.

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
            if table is FRAMES:
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
        for attempt in range(_ATTEMPTS):
            try:
                return self._rows(sql, values)
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

    def each(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a query on kept tables, without having all of them at once; ask nothing else meanwhile."""
        found = self._connection.execute(sql)
        while rows := found.fetchmany(_ROWS_AT_ONCE):
            yield from rows

    def _rows(self, sql: str, values: dict[str, object]) -> Rows:
        try:
            done = self._connection.execute(sql, values or None)
            if done is None:
                raise InvalidRequestError("the statement is empty: try SELECT * FROM frames LIMIT 10")
            return Rows(tuple(column[0] for column in done.description or ()), done.fetchall())
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


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _words(error: duckdb.Error) -> str:
    """What DuckDB says before it quotes the statement, in one line: its guess at what was meant is part of it."""
    return " ".join(str(error).partition("\n\nLINE ")[0].split()) or type(error).__name__
