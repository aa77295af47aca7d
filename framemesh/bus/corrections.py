"""What people say that frames show, as it lies in the stream `CORRECTIONS`: a subject for each frame and task."""

from collections import deque
from contextlib import aclosing

from google.protobuf.message import DecodeError

from framemesh.bus.connection import Bus
from framemesh.bus.reading import newest
from framemesh.bus.streams import CORRECTIONS
from framemesh.corrections import task_of
from framemesh.errors import FramemeshError
from framemesh.frames import FrameId
from framemesh.v1.correction_pb2 import Correction

_PREFIX = "corrections"
SUBJECTS = f"{_PREFIX}.*.*.*"
"""Of all of them."""


def subject(correction: Correction) -> str:
    """Where a correction is published."""
    frame_id = FrameId.parse(correction.frame.frame_id)
    assert frame_id is not None  # noqa: S101 - it is a stored frame's
    return f"{_PREFIX}.{frame_id.camera}.{frame_id.captured_ns}.{task_of(correction)}"


async def in_force(
    bus: Bus, *, camera: str = "*", captured_ns: int | None = None, task: str = "*", limit: int
) -> list[Correction]:
    """The corrections that count and that NATS still holds, the newest first.

    Args:
        bus: The connection.
        camera: Only of this one, by DNS label.
        captured_ns: Only of the frame of this time.
        task: Only for this one.
        limit: How many at most.

    Raises:
        BusUnavailableError: They can't be read now.
    """
    found: deque[Correction] = deque(maxlen=limit)
    wanted = f"{_PREFIX}.{camera}.{'*' if captured_ns is None else captured_ns}.{task}"
    async with aclosing(newest(bus, CORRECTIONS, wanted)) as messages:
        async for message in messages:
            correction = load(message.data)
            if correction is not None and not correction.removed:
                found.append(correction)
    return list(reversed(found))


def load(body: bytes) -> Correction | None:
    """A message's correction; none where somebody else wrote something of his own there."""
    try:
        correction = Correction.FromString(body)
        task_of(correction)
    except (DecodeError, FramemeshError):
        return None
    return correction
