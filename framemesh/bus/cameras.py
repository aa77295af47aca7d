"""How cameras are: agents write, gateways read (`cameras` in NATS's key-value store); and what happens (`EVENTS`)."""

from framemesh.bus import encoding
from framemesh.v1.camera_pb2 import Camera, CameraEvent

HEARTBEAT_SECONDS = 2.0
SILENT_SECONDS = 10.0
"""A camera whose agent has said nothing for so long is taken for gone."""


def event_subject(camera: str) -> str:
    """Where a camera's events go by."""
    return f"events.cameras.{camera}"


def dump(message: Camera | CameraEvent) -> bytes:
    """An entry or event."""
    return encoding.dump(message)


def load(value: bytes) -> Camera | None:
    """The camera of an entry; none where it isn't one, such as one written by hand."""
    return encoding.load(value, Camera())
