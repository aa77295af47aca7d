"""Parquet files as bytes."""

from collections.abc import Sequence
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from archiver.rows import Row


class ForeignFileError(Exception):
    """A file that isn't one of ours, or that was damaged."""


CONTENT_TYPE = "application/vnd.apache.parquet"


def write(rows: Sequence[Row], columns: pa.Schema) -> bytes:
    """A file of these rows."""
    return _bytes(pa.Table.from_pylist(rows, schema=columns))


def read(file: bytes, columns: pa.Schema) -> pa.Table:
    """The rows of a file, maybe an older one that lacks some of the columns.

    Raises:
        ForeignFileError: It is no Parquet file, or none of this table.
    """
    try:
        own = pq.read_schema(BytesIO(file))
        if "frame_id" not in own.names or not set(own.names) <= set(columns.names):
            raise ForeignFileError(f"its columns are {', '.join(own.names)[:200]}")
        return pq.read_table(BytesIO(file), schema=columns, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise ForeignFileError(str(error)) from error


def merge(tables: Sequence[pa.Table]) -> bytes:
    """One file of all rows of these, by capture time."""
    return _bytes(pa.concat_tables(tables).sort_by("capture_time"))


def _bytes(table: pa.Table) -> bytes:
    out = BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()
