"""What a source gives, before it is made into the picture that is sent."""

from dataclasses import dataclass

from av.video.frame import VideoFrame

from ingest.pictures import Picture


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture as it comes.

    Attributes:
        content: An encoded picture where the source gives such, which may pass byte for byte; else a decoded frame.
        captured_ns: When it was taken by the camera's own clock, in Unix nanoseconds; none where it doesn't tell.
        rotation: Degrees counter-clockwise by which a decoded frame must be turned to be upright: 0, 90, 180 or -90.
    """

    content: Picture | VideoFrame
    captured_ns: int | None = None
    rotation: int = 0
