"""`python -m ingest.probing`: what a source offers, for `framemesh ingest probe`.

Standard input has one camera's settings as JSON, so that no password shows in the list of processes; the argument, if
there is one, is the file where a picture is to be saved. Standard output gets an object: an `Offer`, or `error` alone.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from av.video.frame import VideoFrame
from pydantic import ValidationError

from framemesh.errors import ConfigurationError, FramemeshError, ImageTooLargeError, InvalidImageError
from framemesh.frames import NANOSECONDS
from ingest.folders import FolderSource
from ingest.inputs import VideoInput
from ingest.mjpeg import MjpegSource
from ingest.pictures import Picture, Size
from ingest.settings import CameraSettings
from ingest.shaping import Shaper
from ingest.shots import EndOfSource, Shot, Source, Stalled, Timing
from ingest.sources import open_source
from ingest.stills import StillSource
from ingest.streams import StreamSource
from ingest.videos import VideoSource
from ingest.web import SnapshotSource

_WATCH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Offer:
    """What a source gives.

    Attributes:
        source: Where, without its login.
        kind: In words.
        container: FFmpeg's name of it; none where FFmpeg isn't asked.
        codec: FFmpeg's name of it, or of the image format.
        width_px: Width of the first picture as it comes.
        height_px: Its height.
        fps: Frames a second, as the source says or as they came; none where it has no pace of its own.
        bits_per_second: What it sends of video; none where that isn't known.
        passes: Whether its pictures are sent byte for byte, rather than decoded and encoded anew.
        clock_ahead_seconds: How far the camera's own clock is ahead of ours; none where it doesn't tell.
        saved_as: Where the picture is, if it was to be saved.
    """

    source: str
    kind: str
    container: str | None
    codec: str
    width_px: int
    height_px: int
    fps: float | None
    bits_per_second: float | None
    passes: bool
    clock_ahead_seconds: float | None
    saved_as: str | None


def probe(camera: CameraSettings, save: Path | None) -> Offer:
    """Open the source and watch it for a moment.

    Raises:
        SourceUnavailableError: It can't be reached, or gives no picture.
        ConfigurationError: It is nothing that pictures come from, or the picture can't be saved.
    """
    source = open_source(camera)
    try:
        return _watched(camera, source, save)
    finally:
        source.close()


def _watched(camera: CameraSettings, source: Source, save: Path | None) -> Offer:
    began = time.monotonic()
    shots = [_next(camera, source)]
    ahead = _ahead_seconds(shots[0])
    while source.timing is Timing.LIVE and time.monotonic() - began < _WATCH_SECONDS:
        shots.append(_next(camera, source))
        ahead = _ahead_seconds(shots[-1]) if ahead is None else ahead
    seconds = time.monotonic() - began
    content = shots[0].content
    picture = Shaper(camera).shape(shots[0])
    if save is not None and picture is not None:
        try:
            save.write_bytes(picture.body)
        except OSError as error:
            raise ConfigurationError(f"--save {save} can't be written: {error.strerror}", path=save) from error
    video = source.video if isinstance(source, StreamSource | VideoSource) else None
    size = Size(content.width, content.height) if isinstance(content, VideoFrame) else content.size
    return Offer(
        source=camera.place,
        kind=_KINDS[type(source)],
        container=None if video is None else video.container.format.name,
        codec=_codec(content) if video is None else video.stream.codec_context.name,
        width_px=size.width_px,
        height_px=size.height_px,
        fps=_fps(shots, seconds) if source.timing is Timing.LIVE else _said_fps(video),
        bits_per_second=_bits_per_second(source, shots, video, seconds),
        passes=picture is content,
        clock_ahead_seconds=ahead,
        saved_as=None if save is None else str(save),
    )


_KINDS: dict[type, str] = {
    StreamSource: "live video",
    VideoSource: "recorded video",
    MjpegSource: "MJPEG over HTTP",
    SnapshotSource: "snapshots over HTTP",
    FolderSource: "folder of images",
    StillSource: "image, panned and zoomed",
}


def _next(camera: CameraSettings, source: Source) -> Shot:
    """The next shot that can be used."""
    deadline = time.monotonic() + camera.stall_seconds
    trouble = f"source {camera.place}: no picture came within {camera.stall_seconds:g} s"
    while time.monotonic() < deadline:
        try:
            shot = source.read()
        except (InvalidImageError, ImageTooLargeError) as error:
            trouble = str(error)
            continue
        if shot is not None:
            return shot
        time.sleep(0.1)
    raise InvalidImageError(trouble)


def _codec(content: Picture | VideoFrame) -> str:
    return content.content_type.removeprefix("image/") if isinstance(content, Picture) else content.format.name


def _fps(shots: list[Shot], seconds: float) -> float | None:
    """By the shots' own times, as those that came before the first look were there all at once."""
    times = [shot.at_seconds for shot in shots if shot.at_seconds is not None]
    if len(times) > 1 and times[-1] > times[0]:
        return (len(times) - 1) / (times[-1] - times[0])
    return len(shots) / seconds if len(shots) > 1 else None


def _said_fps(video: VideoInput | None) -> float | None:
    return None if video is None or not video.stream.average_rate else float(video.stream.average_rate)


def _bits_per_second(source: Source, shots: list[Shot], video: VideoInput | None, seconds: float) -> float | None:
    if video is not None and source.timing is Timing.TIMED:
        return float(video.container.bit_rate) or None
    if source.timing is not Timing.LIVE:
        return None
    count = sum(len(shot.content.body) for shot in shots if isinstance(shot.content, Picture))
    return 8 * (count or (0 if video is None else video.received_bytes)) / seconds


def _ahead_seconds(shot: Shot) -> float | None:
    return None if shot.captured_ns is None else (shot.captured_ns - time.time_ns()) / NANOSECONDS


def main() -> None:
    """Answer on standard output. Exits 1 with an error."""
    try:
        camera = CameraSettings.model_validate_json(sys.stdin.read())
        offer = probe(camera, Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    except ValidationError as error:
        words = [
            f"{'.'.join(map(str, wrong['loc'])) or 'source'}: {wrong['msg'].removeprefix('Value error, ')}"
            for wrong in error.errors()
        ]
        _fail("; ".join(words))
    except (FramemeshError, Stalled) as error:
        _fail(str(error))
    except EndOfSource:
        _fail("there is no picture in it")
    else:
        print(json.dumps(asdict(offer)))  # noqa: T201 - the answer


def _fail(words: str) -> None:
    print(json.dumps({"error": words}))  # noqa: T201 - as above
    sys.exit(1)


if __name__ == "__main__":
    main()
