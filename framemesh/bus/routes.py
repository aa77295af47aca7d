"""Who serves which model: model servers write, the gateway reads (`routes` in NATS's key-value store)."""

from google.protobuf.json_format import MessageToJson, Parse, ParseError
from google.protobuf.timestamp_pb2 import Timestamp

from framemesh.v1.model_pb2 import ModelReplica

HEARTBEAT_SECONDS = 2.0
SILENT_SECONDS = 10.0
"""A replica that has said nothing for so long is taken for dead."""


def route_key(replica: ModelReplica) -> str:
    """The key of a replica's entry."""
    return f"{replica.model}.{replica.replica}"


def dump(replica: ModelReplica, now: Timestamp) -> bytes:
    """A replica's entry, as JSON so that people can read it with any NATS tool."""
    stamped = ModelReplica()
    stamped.CopyFrom(replica)
    stamped.heartbeat_time.CopyFrom(now)
    return MessageToJson(stamped, indent=None).encode()


def load(value: bytes) -> ModelReplica | None:
    """The replica of an entry; none where it isn't one, such as one written by hand."""
    try:
        return Parse(value, ModelReplica(), ignore_unknown_fields=True)
    except (ParseError, UnicodeDecodeError):
        return None
