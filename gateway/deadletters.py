"""Messages that can't be processed, kept with the reason."""

import structlog

from framemesh.bus import Bus
from framemesh.errors import FramemeshError
from framemesh.frames import MESSAGE_ID
from framemesh.v1.frame_pb2 import Frame
from framemesh.v1.result_pb2 import DeadLetter

log = structlog.get_logger()

_ACK_SECONDS = 5.0


class DeadLetters:
    """Writes to the stream `DEADLETTERS`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def write(
        self, frame: Frame, error: FramemeshError, *, subject: str, model: str = "", body: bytes = b""
    ) -> None:
        """Keep a message and why it failed; writing it again does no harm.

        Raises:
            BusUnavailableError: It may not have been kept: don't acknowledge the message yet.
        """
        letter = DeadLetter(
            subject=subject, frame=frame, model=model, reason=error.reason, message=str(error), body=body
        )
        # The subject as it came: `deadletters.>` takes what `frames.*` took, even names that no camera may have.
        name = subject.partition(".")[2]
        headers = {MESSAGE_ID: f"{model}/{frame.frame_id}"}
        await self._bus.publish(f"deadletters.{name}", letter.SerializeToString(), headers, timeout=_ACK_SECONDS)
        log.warning(
            "frame.dead_lettered",
            subject=subject,
            frame_id=frame.frame_id,
            model=model,
            reason=error.reason,
            error=str(error),
            size_bytes=len(body) or frame.size_bytes,
        )
