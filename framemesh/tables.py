"""The tables of the lake: what their Parquet files hold and where they lie. docs/lake.md tells it in words."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa

_TIME = pa.timestamp("us", tz="UTC")
_NAME = pa.field("name", pa.string(), nullable=False)
_EDGES = tuple(pa.field(edge, pa.float32()) for edge in ("x_min_px", "y_min_px", "x_max_px", "y_max_px"))
_SEEN = pa.struct([_NAME, pa.field("score", pa.float32(), nullable=False), *_EDGES])
_WHEN = (pa.field("date", pa.date32()), pa.field("hour", pa.int8()))


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        name: What SQL calls it.
        bucket: Where its files lie, below `<partition>=<value>/...`.
        columns: The columns in the files.
        partitions: The columns in the files' paths; date and hour are those of the frame's id, in UTC.
        key: The columns that name a row.
        newest: The column that says which of two rows of the same name counts.
        removed: The column that says of a row that what it names is there no more; empty where nothing is removed.
    """

    name: str
    bucket: str
    columns: pa.Schema
    partitions: pa.Schema
    key: tuple[str, ...]
    newest: str
    removed: str = ""

    def holds(self, key: str) -> bool:
        """Whether a key of the bucket is that of one of the table's files."""
        return self.hour(key) is not None

    def hour(self, key: str) -> datetime | None:
        """The hour whose rows one of the table's files has, by its key; none where the key is no such file's."""
        *folders, name = key.split("/")
        if not name.endswith(".parquet") or [each.partition("=")[0] for each in folders] != self.partitions.names:
            return None
        _, day, hour = (each.partition("=")[2] for each in folders)
        try:
            return datetime.strptime(f"{day} {hour}", "%Y-%m-%d %H").replace(tzinfo=UTC)
        except ValueError:
            return None


FRAMES = Table(
    name="frames",
    bucket="references",
    columns=pa.schema(
        [
            pa.field("frame_id", pa.string()),
            pa.field("capture_time", _TIME),
            pa.field("store_time", _TIME),
            pa.field("width_px", pa.int32()),
            pa.field("height_px", pa.int32()),
            pa.field("size_bytes", pa.int64()),
            pa.field("content_type", pa.string()),
            pa.field("camera_sequence", pa.int64()),
            pa.field("object_key", pa.string()),
        ]
    ),
    partitions=pa.schema([pa.field("camera", pa.string()), *_WHEN]),
    key=("frame_id",),
    newest="store_time",
)
"""Every stored frame."""

RESULTS = Table(
    name="results",
    bucket="results",
    columns=pa.schema(
        [
            pa.field("camera", pa.string()),
            pa.field("frame_id", pa.string()),
            pa.field("capture_time", _TIME),
            pa.field("answer_time", _TIME),
            pa.field("state", pa.string()),
            pa.field("label", pa.string()),
            pa.field("score", pa.float32()),
            pa.field("labels", pa.list_(_SEEN)),
            pa.field("text", pa.string()),
            pa.field("embedding", pa.list_(pa.float32())),
            pa.field("answer", pa.binary()),
            pa.field("error_reason", pa.string()),
            pa.field("error_message", pa.string()),
            pa.field("model_version", pa.string()),
            pa.field("latency_seconds", pa.float64()),
            pa.field("inference_seconds", pa.float64()),
            pa.field("skipped", pa.int64()),
            pa.field("replayed", pa.bool_()),
            pa.field("object_key", pa.string()),
        ]
    ),
    partitions=pa.schema([pa.field("model", pa.string()), *_WHEN]),
    key=("model", "frame_id"),
    newest="answer_time",
)
"""Every model's answer to every frame that it saw."""

SHADOWS = replace(RESULTS, name="shadows", bucket="shadows")
"""The same of models that run as shadows, whose answers nobody was given."""

CORRECTIONS = Table(
    name="corrections",
    bucket="corrections",
    columns=pa.schema(
        [
            pa.field("frame_id", pa.string()),
            pa.field("task", pa.string()),
            pa.field("capture_time", _TIME),
            pa.field("correct_time", _TIME),
            pa.field("label", pa.string()),
            pa.field("objects", pa.list_(pa.struct([_NAME, *_EDGES]))),
            pa.field("model", pa.string()),
            pa.field("author", pa.string()),
            pa.field("removed", pa.bool_()),
            pa.field("object_key", pa.string()),
        ]
    ),
    partitions=pa.schema([pa.field("camera", pa.string()), *_WHEN]),
    key=("frame_id", "task"),
    newest="correct_time",
    removed="removed",
)
"""What people say that frames show, in place of models."""

TABLES = (FRAMES, RESULTS, SHADOWS, CORRECTIONS)
