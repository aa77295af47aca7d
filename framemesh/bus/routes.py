"""Who serves which model: model servers write, the gateway reads (`routes` in NATS's key-value store)."""

from google.protobuf.timestamp_pb2 import Timestamp

from framemesh.bus import encoding
from framemesh.v1.model_pb2 import ModelReplica

HEARTBEAT_SECONDS = 2.0
SILENT_SECONDS = 10.0
"""A replica that has said nothing for so long is taken for dead."""


def route_key(replica: ModelReplica) -> str:
    """The key of a replica's entry."""
    return f"{replica.model}.{replica.replica}"


def dump(replica: ModelReplica, now: Timestamp) -> bytes:
    """A replica's entry."""
    stamped = ModelReplica()
    stamped.CopyFrom(replica)
    stamped.heartbeat_time.CopyFrom(now)
    return encoding.dump(stamped)


def load(value: bytes) -> ModelReplica | None:
    """The replica of an entry; none where it isn't one, such as one written by hand."""
    return encoding.load(value, ModelReplica())
