"""How cameras are: agents write, gateways read (`cameras` in NATS's key-value store); and what happens (`EVENTS`)."""

from google.protobuf.json_format import MessageToJson, Parse, ParseError

from framemesh.v1.camera_pb2 import Camera, CameraEvent

HEARTBEAT_SECONDS = 2.0
SILENT_SECONDS = 10.0
"""A camera whose agent has said nothing for so long is taken for gone."""


def event_subject(camera: str) -> str:
    """Where a camera's events go by."""
    return f"events.cameras.{camera}"


def dump(message: Camera | CameraEvent) -> bytes:
    """An entry or event, as JSON so that people can read it with any NATS tool."""
    return MessageToJson(message, indent=None).encode()


def load(value: bytes) -> Camera | None:
    """The camera of an entry; none where it isn't one, such as one written by hand."""
    try:
        return Parse(value, Camera(), ignore_unknown_fields=True)
    except (ParseError, UnicodeDecodeError):
        return None
