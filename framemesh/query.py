"""SQL over the lake's tables, in the process that asks: DuckDB on Parquet that pyarrow reads from S3."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from framemesh.errors import ConfigurationError, InvalidRequestError, LakeUnavailableError
from framemesh.tables import FRAMES, RESULTS, Table

_CONNECT_SECONDS = 2.0
_REQUEST_SECONDS = 30.0
_ATTEMPTS = 3
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
    """The views `frames` and `results`, as they are when this is made."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def ask(self, sql: str, **values: object) -> Rows:
        """Run a statement; `$name` in it stands for a value.

        Raises:
            InvalidRequestError: The statement is wrong, or wants what it may not have; DuckDB's words say which.
            LakeUnavailableError: The lake stopped answering.
        """
        try:
            done = self._connection.execute(sql, values or None)
            if done is None:
                raise InvalidRequestError("the statement is empty: try SELECT * FROM frames LIMIT 10")
            return Rows(tuple(column[0] for column in done.description or ()), done.fetchall())
        except duckdb.IOException as error:
            raise LakeUnavailableError(f"the lake can't be read: {_first_line(error)}") from error
        except duckdb.Error as error:
            raise InvalidRequestError(_first_line(error)) from error


@contextmanager
def tables(place: LakePlace) -> Iterator[LakeTables]:
    """The lake's tables around the block.

    Raises:
        ConfigurationError: The endpoint is no URL, or the store refuses the keys.
        LakeUnavailableError: The store can't be reached.
    """
    store = _store(place)
    with duckdb.connect(config=_SAFE) as connection:
        for table in (FRAMES, RESULTS):
            connection.register(f"{table.name}_files", _dataset(table, store, place.endpoint))
            connection.execute(_view(table))
        for statement in _LOCK:
            connection.execute(statement)
        yield LakeTables(connection)


def _view(table: Table) -> str:
    """The newest row of each name. Partitions are part of the name, so that conditions on them reach the files."""
    name = ", ".join(dict.fromkeys((*table.partitions.names, *table.key)))
    return (
        f"CREATE VIEW {table.name} AS SELECT * FROM {table.name}_files "  # noqa: S608 - our own names
        f"QUALIFY row_number() OVER (PARTITION BY {name} ORDER BY {table.newest} DESC) = 1"
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


def _dataset(table: Table, store: fs.S3FileSystem, endpoint: str) -> ds.Dataset:
    """A table's files; none where nothing was archived yet."""
    columns = pa.schema([*table.columns, *table.partitions])
    try:
        return ds.dataset(
            table.bucket,
            schema=columns,
            filesystem=store,
            format="parquet",
            partitioning=ds.partitioning(table.partitions, flavor="hive"),
        )
    except FileNotFoundError:
        return ds.dataset(columns.empty_table())
    except OSError as error:
        words = _first_line(error)
        if "ACCESS_DENIED" in words or "SignatureDoesNotMatch" in words or "InvalidAccessKeyId" in words:
            raise ConfigurationError(f"the S3 server at {endpoint} refuses us; check the S3 keys") from error
        raise LakeUnavailableError(f"the S3 server at {endpoint} can't be read: {words}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
