"""Frames read back from the lake."""

from google.protobuf.timestamp_pb2 import Timestamp

from framemesh.errors import FrameNotFoundError
from framemesh.frames import frame_id_of, timestamp
from framemesh.images import read_header
from framemesh.lake import Lake
from framemesh.v1.frame_pb2 import Frame


async def stored_frame(lake: Lake, key: str) -> tuple[Frame, bytes]:
    """A stored frame with its image.

    Raises:
        FrameNotFoundError: Nothing is stored under the key.
        LakeUnavailableError: The lake can't be read now.
        InvalidImageError: Somebody else put something there that is no image.
    """
    frame_id = frame_id_of(key)
    if frame_id is None:
        raise FrameNotFoundError(f"{key!r} is no key of a stored frame; results carry the keys of theirs", key=key)
    body, metadata = await lake.get(key)
    header = read_header(body)
    frame = Frame(
        frame_id=str(frame_id),
        camera=frame_id.camera,
        capture_time=timestamp(frame_id.captured_ns),
        size_bytes=len(body),
        width_px=header.width_px,
        height_px=header.height_px,
        content_type=header.content_type,
        object_key=key,
    )
    if "captured-at" in metadata:
        captured = Timestamp()
        captured.FromJsonString(metadata["captured-at"])
        frame.capture_time.CopyFrom(captured)
    if "camera-sequence" in metadata:
        frame.camera_sequence = int(metadata["camera-sequence"])
    return frame, body
