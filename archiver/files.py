"""Parquet files as bytes."""

from collections.abc import Sequence
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from archiver.rows import Row

CONTENT_TYPE = "application/vnd.apache.parquet"


def write(rows: Sequence[Row], columns: pa.Schema) -> bytes:
    """A file of these rows."""
    return _bytes(pa.Table.from_pylist(rows, schema=columns))


def merge(files: Sequence[bytes], columns: pa.Schema) -> bytes:
    """One file of all rows of these, by capture time.

    Raises:
        ArrowInvalid: One of them is no Parquet file, or not of this table.
    """
    tables = [pq.read_table(BytesIO(file), schema=columns, partitioning=None) for file in files]
    return _bytes(pa.concat_tables(tables).sort_by("capture_time"))


def _bytes(table: pa.Table) -> bytes:
    out = BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()
