"""What of a status is wrong, in words for people. Pure: the time is an argument."""

from collections.abc import Iterator
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from framemesh.bus import streams
from framemesh.v1 import status_service_pb2 as pb2
from framemesh.words import serving_count, state

_WAITING_SECONDS = 15.0
_UNARCHIVED_SECONDS = 300.0
_NEARLY_FULL = 0.8


def problems(found: pb2.GetStatusResponse, now: datetime) -> Iterator[str]:
    """Yield each thing that is wrong.

    Args:
        found: The mesh, as far as it could be asked.
        now: The gateway's time, in UTC.
    """
    for stream in found.streams:
        if stream.name == streams.FRAMES:
            yield from _frames(stream, now)
    for each in found.models:
        wanted = each.model.spec.replicas
        serving = serving_count(each.model)
        if serving < wanted:
            yield (
                f"model {each.model.spec.name}: {serving} of {wanted} servers answer ({state(each.model)}); "
                f"{each.waiting_frame_count:,} frames wait for it"
            )
    for table in found.tables:
        if table.waiting_message_count and (age := _seconds(table.waiting_since_time, now)) > _UNARCHIVED_SECONDS:
            yield (
                f"table {table.name} is {age / 60:.0f} minutes behind, by {table.waiting_message_count:,} rows: "
                "is the archiver running, and does the lake take its files?"
            )


def _frames(stream: pb2.StreamStatus, now: datetime) -> Iterator[str]:
    if stream.size_bytes > _NEARLY_FULL * stream.limit_bytes:
        yield (
            f"the stream of frames is {100 * stream.size_bytes / stream.limit_bytes:.0f} % full: "
            "when it is full, cameras are refused"
        )
    if stream.message_count and (age := _seconds(stream.oldest_time, now)) > _WAITING_SECONDS:
        yield (
            f"{stream.message_count:,} frames wait to be stored, the oldest for {age:,.0f} s: "
            "the lake is away, or slower than the cameras"
        )


def _seconds(time: Timestamp, now: datetime) -> float:
    return (now - time.ToDatetime(UTC)).total_seconds()
