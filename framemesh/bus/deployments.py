"""How far each deployment has come: deployers write, the gateway reads (`deployments` in NATS's key-value store)."""

from google.protobuf.json_format import MessageToJson, Parse, ParseError

from framemesh.v1.model_pb2 import DeploymentStatus


def dump(status: DeploymentStatus) -> bytes:
    """A status as its entry, in JSON so that people can read it with any NATS tool."""
    return MessageToJson(status, indent=None).encode()


def load(value: bytes) -> DeploymentStatus | None:
    """The status of an entry; none where it isn't one, such as one written by hand."""
    try:
        return Parse(value, DeploymentStatus(), ignore_unknown_fields=True)
    except (ParseError, UnicodeDecodeError):
        return None
