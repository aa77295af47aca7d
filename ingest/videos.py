"""Recorded video, of a file or a server: shown in its own time, once or over and over."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from av.packet import Packet
from av.video.stream import VideoStream

from framemesh.errors import InvalidImageError
from ingest import troubles
from ingest.inputs import VideoInput
from ingest.shots import EndOfSource, Shot, Timing

_FPS = 25.0
"""Of a file that says neither when its frames are due nor how many a second they are."""


class VideoSource:
    """A video's frames, from the beginning.

    Args:
        open_video: Opens it; called again for each round.
        loop: After the last frame comes the first; else it ends.

    Raises:
        FramemeshError: As `open_video` does.
        ConfigurationError: There is no picture in it.
    """

    timing = Timing.TIMED
    patience_seconds = None

    def __init__(self, open_video: Callable[[], VideoInput], *, loop: bool) -> None:
        self._open = open_video
        self._loop = loop
        self.video = open_video()
        self._packets: Iterator[Packet[VideoStream]] = self.video.packets()
        self._shots: deque[Shot] = deque()
        self._round_seconds = 0.0
        self._next_seconds = 0.0
        self._first: float | None = None
        self._in_round = 0
        self._fill()
        if not self._shots:
            self.video.close()
            raise troubles.no_picture(self.video.place.shown)

    def read(self) -> Shot:
        """The next frame.

        Raises:
            EndOfSource: That was the last, and the video is shown once.
            InvalidImageError: A part of the video can't be decoded.
            FramemeshError: It can't be opened for the next round, or has no picture any more.
        """
        self._fill()
        if not self._shots:
            if not self._loop:
                raise EndOfSource
            if not self._in_round:
                raise troubles.no_picture(self.video.place.shown)
            self.video.close()
            self.video = self._open()
            self._packets = self.video.packets()
            self._round_seconds, self._first, self._in_round = self._next_seconds, None, 0
            self._fill()
            if not self._shots:
                raise troubles.no_picture(self.video.place.shown)
        return self._shots.popleft()

    def close(self) -> None:
        """Close the file."""
        self.video.close()

    def _fill(self) -> None:
        while not self._shots:
            packet = next(self._packets, None)
            if packet is None:
                return
            try:
                shots = self.video.shots(packet)
            except InvalidImageError:
                if self._in_round:
                    raise
                continue  # a file cut at its beginning: what follows may be sound
            self._shots.extend(self._timed(shot) for shot in shots)

    def _timed(self, shot: Shot) -> Shot:
        """The shot in the time of all rounds."""
        self._in_round += 1
        interval = 1 / float(self.video.stream.average_rate or _FPS)
        at = shot.at_seconds
        if at is None:
            seconds = self._next_seconds
        else:
            self._first = at if self._first is None else self._first
            seconds = max(self._round_seconds + at - self._first, self._next_seconds - interval)
        self._next_seconds = seconds + interval
        return replace(shot, at_seconds=seconds, captured_ns=None)
