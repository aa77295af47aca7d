"""A video file as a camera: decoded by FFmpeg's libraries, over and over."""

from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import structlog
from av.video.frame import VideoFrame

from framemesh.errors import ConfigurationError
from ingest.shots import Shot

log = structlog.get_logger()


class VideoSource:
    """Pictures of a video, one for each of its frames, endlessly.

    Raises:
        ConfigurationError: FFmpeg can't open the file, or finds no picture in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames: Iterator[VideoFrame] = iter(())
        self._next_frame()
        self._frames = iter(())  # that was to see that it can; the camera begins at the beginning

    def read(self) -> Shot:
        """The next frame; after the last comes the first.

        Raises:
            ConfigurationError: The file is gone, or has no picture any more.
        """
        frame = self._next_frame()
        return Shot(frame, rotation=frame.rotation)  # a telephone held upright records on its side and says so

    def close(self) -> None:
        """Close the file."""
        self._frames = iter(())

    def _next_frame(self) -> VideoFrame:
        try:
            frame = next(self._frames, None)
            if frame is None:
                self._frames = _decoded(self._path)
                frame = next(self._frames, None)
        except (av.error.FFmpegError, OSError) as error:
            raise ConfigurationError(
                f"{self._path} is neither an image (JPEG, PNG, WebP) nor a video that FFmpeg reads: {error.strerror}",
                path=self._path,
            ) from error
        if frame is None:
            raise ConfigurationError(f"there is no picture in {self._path}: is it a video?", path=self._path)
        return frame


def _decoded(path: Path) -> Iterator[VideoFrame]:
    """The video's frames, once through. The file stays open until the iterator ends or is dropped."""
    with av.open(path, metadata_errors="replace") as container:
        if not container.streams.video or container.format.name == "tty":  # which shows a .txt as a terminal would
            return
        for packet in container.demux(container.streams.video[0]):
            try:
                yield from packet.decode()
            except av.error.InvalidDataError as error:
                # FFmpeg conceals what damage it can; what it can't is passed over too.
                log.debug("video.packet_skipped", path=str(path), error=str(error))
