"""From a source's shots to the pictures that are sent."""

from av.video.frame import VideoFrame

from ingest.pictures import JPEG, Picture, decode, encode, encode_frame, fitted
from ingest.settings import CameraSettings
from ingest.shots import Shot


class Shaper:
    """Makes one camera's pictures. Decodes and encodes: call it in a thread, one shot at a time."""

    def __init__(self, camera: CameraSettings) -> None:
        self._size = camera.size
        self._quality = camera.encoding_quality

    def shape(self, shot: Shot) -> Picture | None:
        """The picture to send; none where the shot is not worth one. What is as asked for passes byte for byte.

        Raises:
            InvalidImageError: The shot's picture is damaged.
            ImageTooLargeError: It is over `framemesh.limits`.
        """
        if isinstance(shot.content, VideoFrame):
            return encode_frame(shot.content, self._size, quality=self._quality, rotation=shot.rotation)
        if shot.content.content_type == JPEG and self._size in {None, shot.content.size}:
            return shot.content
        return encode(fitted(decode(shot.content.body, at_least=self._size), self._size), quality=self._quality)
