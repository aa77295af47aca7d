"""How far each deployment has come: deployers write, the gateway reads (`deployments` in NATS's key-value store)."""

from framemesh.bus import encoding
from framemesh.v1.model_pb2 import DeploymentStatus


def dump(status: DeploymentStatus) -> bytes:
    """A status as its entry."""
    return encoding.dump(status)


def load(value: bytes) -> DeploymentStatus | None:
    """The status of an entry; none where it isn't one, such as one written by hand."""
    return encoding.load(value, DeploymentStatus())
