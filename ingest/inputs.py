"""What FFmpeg's libraries open: a video stream's packets made into shots, and its errors into words that help."""

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlsplit

import av
import av.error
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from framemesh.errors import FramemeshError, InvalidImageError, SourceUnavailableError
from ingest import troubles
from ingest.pictures import picture_of
from ingest.settings import CameraSettings
from ingest.shots import Shot

MJPEG = "mjpeg"
_LARGE_PIXELS = 1920 * 1088
"""A larger stream is decoded by several threads, for a few frames' delay: one core doesn't keep up with 4K."""
_DECODING_THREADS = 4
_TIMED_OUT = (av.error.ExitError, av.error.TimeoutError)


@dataclass(frozen=True, slots=True)
class Place:
    """What FFmpeg is to open.

    Attributes:
        url: As FFmpeg takes it, with any login.
        shown: As logs and errors may show it.
        format: FFmpeg's name of the input format; none where it finds out.
        options: FFmpeg's own.
        silence_seconds: How long it may take to answer, and then send nothing; none for what is no connection.
    """

    url: str
    shown: str
    format: str | None
    options: dict[str, str]
    silence_seconds: float | None

    @classmethod
    def of(cls, camera: CameraSettings, options: dict[str, str], *, silent: bool = False) -> Self:
        """The place of a camera's source.

        Args:
            camera: What is asked for.
            options: FFmpeg's, which the camera's own come on top of.
            silent: It may send nothing for as long as it likes.

        Raises:
            ConfigurationError: The file with the password can't be read.
        """
        url, login = camera.source, camera.login()
        if login is not None and "://" in url:
            user, password = (quote(word, safe="") for word in login)
            url = url.replace("://", f"://{user}:{password}@", 1)
        wait = None if silent else camera.stall_seconds
        return cls(url, camera.place, camera.format, {**options, **camera.options}, wait)

    def told(self, error: Exception, *, waited_seconds: float = 0.0) -> FramemeshError:
        """FFmpeg's error in words for people; never with the URL, which may hold a password."""
        silence = self.silence_seconds
        if isinstance(error, _TIMED_OUT) or (silence is not None and waited_seconds >= silence):
            return troubles.unanswered(self.shown, silence or waited_seconds)
        for kind, trouble in _TROUBLES.items():
            if isinstance(error, kind):
                return trouble(self.shown)
        words = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        if "://" not in self.url:
            return troubles.no_file(self.shown, words)
        return SourceUnavailableError(f"source {self.shown}: {words}")


_TROUBLES: dict[type[Exception], Callable[[str], FramemeshError]] = {
    av.error.HTTPUnauthorizedError: troubles.login_refused,
    av.error.HTTPForbiddenError: troubles.login_refused,
    av.error.HTTPNotFoundError: troubles.nothing_there,
    av.error.ProtocolNotFoundError: troubles.not_built_in,
    av.error.DemuxerNotFoundError: troubles.not_built_in,
    av.error.DecoderNotFoundError: troubles.not_built_in,
    av.error.InvalidDataError: troubles.no_video,
    av.error.EOFError: troubles.ended,
    ConnectionRefusedError: troubles.not_listening,
}


class VideoInput:
    """The first video stream of what FFmpeg opens.

    Raises:
        SourceUnavailableError: It can't be reached, or is busy.
        ConfigurationError: It holds no video that FFmpeg reads, or refuses the login.
    """

    def __init__(self, place: Place, *, key_frames_only: bool = False) -> None:
        self.place = place
        self._key_frames_only = key_frames_only
        _check_host(place)
        began = time.monotonic()
        try:
            # The time for a read is FFmpeg's to try twice.
            wait = place.silence_seconds
            self.container = av.open(
                place.url,
                "r",
                format=place.format,
                options=place.options,
                timeout=(wait, None if wait is None else 0.45 * wait),
                metadata_errors="replace",
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise place.told(error, waited_seconds=time.monotonic() - began) from None  # its own words hold the URL
        try:
            self.stream = self._video_stream()
        except BaseException:
            self.container.close()
            raise
        self._camera_ahead_seconds: float | None = None
        self.received_bytes = 0

    def close(self) -> None:
        """Hang up, or close the file."""
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self.container.close()

    @property
    def passes_jpeg(self) -> bool:
        """Whether its pictures are JPEGs already."""
        return self.stream.codec_context.name == MJPEG

    def packets(self) -> "Iterator[Packet[VideoStream]]":
        """What comes of the stream, in coded order; the last is empty and makes the decoder give what it holds.

        Raises:
            SourceUnavailableError: The connection is lost.
            Stalled: Nothing comes.
        """
        try:
            for packet in self.container.demux(self.stream):
                self.received_bytes += packet.size
                self._hear_clock(packet)
                yield packet
        except _TIMED_OUT:
            raise troubles.stalled(self.place.shown, self.place.silence_seconds or 0) from None
        except (av.error.FFmpegError, OSError) as error:
            raise self.place.told(error) from None

    def shots(self, packet: "Packet[VideoStream]") -> list[Shot]:
        """What a packet gives: most often one, but a decoder may hold frames back.

        Raises:
            InvalidImageError: It can't be decoded.
            ImageTooLargeError: The picture is over `framemesh.limits`.
        """
        if self.passes_jpeg:
            if not packet.size:
                return []
            at = seconds(packet)
            return [Shot(picture_of(bytes(packet)), self._captured_ns(at), at_seconds=at)]
        if self._key_frames_only and packet.size and not packet.is_keyframe:
            return []
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, ValueError) as error:
            raise InvalidImageError(f"a frame can't be decoded: {getattr(error, 'strerror', None) or error}") from None
        return [self._shot(frame) for frame in frames]

    def _shot(self, frame: VideoFrame) -> Shot:
        at = seconds(frame)
        return Shot(frame, self._captured_ns(at), rotation=frame.rotation, at_seconds=at)

    def _hear_clock(self, packet: "Packet[VideoStream]") -> None:
        """Note what RTCP's reports say of the camera's clock, which FFmpeg puts beside each packet."""
        at = seconds(packet)
        if at is not None and packet.has_sidedata("prft"):
            (wallclock_us,) = struct.unpack_from("q", bytes(packet.get_sidedata("prft")))
            self._camera_ahead_seconds = wallclock_us / 1e6 - at

    def _captured_ns(self, at_seconds: float | None) -> int | None:
        if at_seconds is None or self._camera_ahead_seconds is None:
            return None
        return round((at_seconds + self._camera_ahead_seconds) * 1e6) * 1000

    def _video_stream(self) -> VideoStream:
        if not self.container.streams.video or self.container.format.name == "tty":  # which shows a .txt as a terminal
            raise troubles.no_picture(self.place.shown)
        stream = self.container.streams.video[0]
        if stream.codec_context is None:
            raise troubles.not_built_in(self.place.shown)
        large = stream.width * stream.height > _LARGE_PIXELS
        stream.thread_type = "FRAME" if large else "NONE"
        stream.thread_count = _DECODING_THREADS if large else 1
        if self._key_frames_only:
            stream.codec_context.skip_frame = "NONKEY"
        return stream


def seconds(piece: "Packet[VideoStream] | VideoFrame") -> float | None:
    """Its place in the stream's time."""
    return None if piece.pts is None or piece.time_base is None else float(piece.pts * piece.time_base)


def _check_host(place: Place) -> None:
    """FFmpeg calls a name that isn't known an input/output error."""
    try:
        host = urlsplit(place.url).hostname if "://" in place.url else None
        if host:
            socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        raise troubles.no_host(place.shown) from None
