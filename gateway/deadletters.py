"""Messages that can't be processed, kept with the reason."""

import base64
import binascii

import structlog
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg

from framemesh.bus import Bus
from framemesh.errors import FramemeshError
from framemesh.frames import MESSAGE_ID, timestamp
from framemesh.v1.dead_letter_service_pb2 import KeptDeadLetter
from framemesh.v1.frame_pb2 import Frame
from framemesh.v1.result_pb2 import DeadLetter

log = structlog.get_logger()

_ACK_SECONDS = 5.0
_SUMMARY = "Framemesh-Dead-Letter"
"""The dead letter without its body, in base64: a list is made of headers alone, whatever images weigh."""
UNREADABLE = "UNREADABLE"


class DeadLetters:
    """Writes to the stream `DEADLETTERS`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def write(self, frame: Frame, error: FramemeshError, *, subject: str, body: bytes, sequence: int) -> None:
        """Keep a message that is no frame, and why; writing it again does no harm.

        Args:
            frame: What is known of it.
            error: Why it was refused.
            subject: The subject as it came, even one that no camera may have.
            body: The message's own.
            sequence: Its place in the stream that it came from.

        Raises:
            BusUnavailableError: It may not have been kept: don't acknowledge the message yet.
        """
        letter = DeadLetter(subject=subject, frame=frame, reason=error.reason, message=str(error), body=body)
        await self._write(letter, f"/{frame.frame_id}/{sequence}")

    async def write_answer(self, frame: Frame, error: FramemeshError, *, model: str, skipped: int) -> None:
        """Keep that a model failed on a stored frame, and why; writing it again does no harm.

        Args:
            frame: The frame.
            error: How the model failed on it.
            model: The model's name.
            skipped: How many frames its failed result will count as skipped.

        Raises:
            BusUnavailableError: It may not have been kept: don't acknowledge the frame yet.
        """
        letter = DeadLetter(
            subject=f"stored.{frame.camera}",
            frame=frame,
            model=model,
            reason=error.reason,
            message=str(error),
            skipped_frame_count=skipped,
        )
        await self._write(letter, f"{model}/{frame.frame_id}")

    async def _write(self, letter: DeadLetter, message_id: str) -> None:
        whole = letter.SerializeToString()
        size_bytes = len(letter.body) or letter.frame.size_bytes
        letter.ClearField("body")
        headers = {MESSAGE_ID: message_id, _SUMMARY: base64.b64encode(letter.SerializeToString()).decode()}
        # `deadletters.>` takes what `frames.*` took.
        await self._bus.publish(f"deadletters.{letter.subject.partition('.')[2]}", whole, headers, timeout=_ACK_SECONDS)
        log.warning(
            "frame.dead_lettered",
            subject=letter.subject,
            frame_id=letter.frame.frame_id,
            model=letter.model,
            reason=letter.reason,
            error=letter.message,
            size_bytes=size_bytes,
        )


def summary(message: Msg) -> KeptDeadLetter:
    """A dead letter by its headers, without its body. One that somebody else wrote shows as `UNREADABLE`."""
    try:
        letter = DeadLetter.FromString(base64.b64decode((message.headers or {}).get(_SUMMARY, ""), validate=True))
    except (DecodeError, binascii.Error, ValueError):
        letter = DeadLetter()
    if not letter.reason:
        letter = DeadLetter(subject=message.subject, reason=UNREADABLE, message="not written by a gateway")
    accepted = message.metadata.timestamp
    return KeptDeadLetter(
        number=message.metadata.sequence.stream,
        create_time=timestamp(int(accepted.timestamp()) * 1_000_000_000 + accepted.microsecond * 1000),
        dead_letter=letter,
    )
