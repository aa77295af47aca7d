"""Live video: RTSP, USB cameras and whatever else FFmpeg reads as it comes."""

import time
from collections import deque

from av.packet import Packet
from av.video.stream import VideoStream

from framemesh.errors import InvalidImageError
from ingest import troubles
from ingest.inputs import VideoInput, seconds
from ingest.rates import Lag
from ingest.shots import Shot, Timing

_KEY_FRAME_PATIENCE_SECONDS = 60.0
"""Cameras send a key frame every second, or every twenty: "smart" codecs save on them."""


class StreamSource:
    """A live video's frames. Of one that is read too late, everything up to the next key frame is passed over."""

    timing = Timing.LIVE

    def __init__(self, video: VideoInput, *, stall_seconds: float, key_frames_only: bool) -> None:
        self.patience_seconds: float | None = stall_seconds
        if key_frames_only:
            self.patience_seconds = max(stall_seconds, _KEY_FRAME_PATIENCE_SECONDS)
        self.video = video
        self._packets = video.packets()
        self._shots: deque[Shot] = deque()
        self._lag = Lag()
        self._decodes = False

    def read(self) -> Shot:
        """The next frame.

        Raises:
            InvalidImageError: A part of the stream can't be decoded.
            ImageTooLargeError: The picture is over `framemesh.limits`.
            SourceUnavailableError: The stream has ended.
            Stalled: It brings no pictures.
        """
        patience = self.patience_seconds or 0.0
        deadline = time.monotonic() + patience
        while not self._shots:
            packet = next(self._packets, None)
            if packet is None:
                raise troubles.ended(self.video.place.shown)
            if not self._skips(packet):
                self._decode(packet)
            if not self._shots and time.monotonic() > deadline:
                raise troubles.stalled(self.video.place.shown, patience)
        self._decodes = True
        return self._shots.popleft()

    def close(self) -> None:
        """Hang up."""
        self.video.close()

    def _skips(self, packet: "Packet[VideoStream]") -> bool:
        taken = seconds(packet)
        return taken is not None and self._lag.skips(
            taken_seconds=taken, now_seconds=time.monotonic(), is_key=packet.is_keyframe
        )

    def _decode(self, packet: "Packet[VideoStream]") -> None:
        try:
            self._shots.extend(self.video.shots(packet))
        except InvalidImageError:
            if self._decodes:  # before the first key frame there is nothing to decode by
                raise
