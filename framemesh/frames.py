"""What a frame is called and where it lies: ids, subjects, headers, object keys. Pure: values in, values out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from framemesh.names import check_label

SUBJECT_PREFIX = "frames."

MESSAGE_ID = "Nats-Msg-Id"
CAPTURED_AT = "Framemesh-Captured-At"
CONTENT_TYPE = "Content-Type"
WIDTH = "Framemesh-Width"
HEIGHT = "Framemesh-Height"
SEQUENCE = "Framemesh-Seq"
FRAME_ID = "Framemesh-Frame-Id"
"""The frame's id where a message is sent again under a message id of its own, as NATS still knows the first one."""

NANOSECONDS = 1_000_000_000
_EARLIEST_NS = 946_684_800 * NANOSECONDS  # 2000-01-01: an id with a smaller number is somebody's counter
_LATEST_NS = 2**63 - 1
_EPOCH = datetime.fromtimestamp(0, UTC)
_DIGITS = re.compile(r"0|[1-9][0-9]{0,18}")

EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}
"""How the keys of stored frames end, by content type."""


@dataclass(frozen=True, slots=True, order=True)
class FrameId:
    """A frame's identity: who took it and when.

    Attributes:
        camera: A DNS label.
        captured_ns: Capture time in Unix nanoseconds.
    """

    camera: str
    captured_ns: int

    def __str__(self) -> str:
        return f"{self.camera}-{self.captured_ns}"

    @staticmethod
    def parse(text: str) -> "FrameId | None":
        """The identity in a text such as `gate-1767225600000000000`; none where it isn't one."""
        camera, _, digits = text.rpartition("-")
        if not camera or not _DIGITS.fullmatch(digits) or not _EARLIEST_NS <= int(digits) <= _LATEST_NS:
            return None
        return FrameId(camera, int(digits))


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a message on `frames.<camera>` says of its frame, before anyone looks at the image."""

    frame_id: FrameId
    capture_time: Timestamp
    camera_sequence: int | None


def arrival(subject: str, headers: Mapping[str, str], *, stream_time: datetime, stream_sequence: int) -> Arrival:
    """Identify a frame by its message.

    The header `FRAME_ID`, or else the message id, counts where it is a frame id of the subject's own camera. Any other
    message gets its identity from the stream: the time of acceptance in microseconds, and in the last three digits the
    stream's sequence, so that two frames accepted in the same microsecond stay two and a redelivery keeps its name.

    Raises:
        InvalidNameError: The subject's last part isn't a DNS label.
    """
    camera = check_label("camera", subject.removeprefix(SUBJECT_PREFIX))
    if (again := FrameId.parse(headers.get(FRAME_ID, ""))) is not None and again.camera == camera:
        captured = _time(headers.get(CAPTURED_AT)) or timestamp(again.captured_ns)
        return Arrival(again, captured, _number(headers.get(SEQUENCE)))
    own = FrameId.parse(headers.get(MESSAGE_ID, ""))
    if own is not None and own.camera == camera:
        return Arrival(own, timestamp(own.captured_ns), _number(headers.get(SEQUENCE)))
    # Whole numbers all the way: `datetime.timestamp()` is a float, which rounds microseconds.
    accepted_ns = (stream_time - _EPOCH) // timedelta(microseconds=1) * 1000
    frame_id = FrameId(camera, accepted_ns + stream_sequence % 1000)
    captured = _time(headers.get(CAPTURED_AT)) or timestamp(accepted_ns)
    return Arrival(frame_id, captured, _number(headers.get(SEQUENCE)))


def subject(camera: str) -> str:
    """Where a camera publishes."""
    return SUBJECT_PREFIX + camera


def headers(frame_id: FrameId, *, content_type: str, width_px: int, height_px: int, sequence: int) -> dict[str, str]:
    """The headers of a frame's message; the capture time as RFC 3339 in UTC with nanoseconds."""
    return {
        MESSAGE_ID: str(frame_id),
        CAPTURED_AT: timestamp(frame_id.captured_ns).ToJsonString(),
        CONTENT_TYPE: content_type,
        WIDTH: str(width_px),
        HEIGHT: str(height_px),
        SEQUENCE: str(sequence),
    }


def object_key(frame_id: FrameId, content_type: str) -> str:
    """Key in the bucket of frames: `<camera>/<yyyy>/<mm>/<dd>/<hh>/<frame_id>.jpg`, in UTC.

    Raises:
        KeyError: Not a content type that `framemesh.images` knows.
    """
    return f"{hour_prefix(frame_id)}{frame_id}.{EXTENSIONS[content_type]}"


def hour_prefix(frame_id: FrameId) -> str:
    """Prefix of the keys of all frames that the camera took in the same hour."""
    captured = datetime.fromtimestamp(frame_id.captured_ns // NANOSECONDS, UTC)
    return f"{frame_id.camera}/{captured:%Y/%m/%d/%H}/"


def frame_id_of(key: str) -> FrameId | None:
    """The identity of the frame under an object key; none where the key isn't, to the letter, a frame's."""
    stem, _, extension = key.rpartition("/")[2].partition(".")
    frame_id = FrameId.parse(stem)
    if frame_id is None or extension not in EXTENSIONS.values() or key != f"{hour_prefix(frame_id)}{stem}.{extension}":
        return None
    return frame_id


def timestamp(unix_ns: int) -> Timestamp:
    """A protobuf timestamp of a time in Unix nanoseconds."""
    return Timestamp(seconds=unix_ns // NANOSECONDS, nanos=unix_ns % NANOSECONDS)


def _time(text: str | None) -> Timestamp | None:
    if text is None:
        return None
    time = Timestamp()
    try:
        time.FromJsonString(text)
    except ValueError:
        return None
    return time


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _DIGITS.fullmatch(text) and int(text) <= _LATEST_NS else None
