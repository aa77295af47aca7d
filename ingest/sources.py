"""Opening the right kind of source for a camera."""

import stat
from functools import partial
from pathlib import Path

from ingest import troubles
from ingest.folders import FolderSource
from ingest.inputs import Place, VideoInput
from ingest.mjpeg import MjpegSource
from ingest.pictures import is_image
from ingest.settings import DEFAULT_FPS, CameraSettings
from ingest.shots import Source
from ingest.stills import DEFAULT_SIZE, StillSource, shared_loop
from ingest.streams import StreamSource
from ingest.videos import VideoSource
from ingest.web import Door, SnapshotSource

_V4L2 = "video4linux2,v4l2"
_GENERATORS = {"lavfi"}
"""FFmpeg's inputs that give frames as fast as one reads: they are shown in their own time, as a file is."""
_PROMPT = {"fpsprobesize": "0", "analyzeduration": "1000000"}
"""Begin with what comes: FFmpeg would watch a stream for two seconds first, to find out its rate."""


def open_source(camera: CameraSettings) -> Source:
    """The camera's source. Blocks.

    Raises:
        SourceUnavailableError: It can't be reached at present.
        ConfigurationError: It isn't there, or is nothing that pictures come from.
    """
    if camera.source.startswith(("http://", "https://")) and camera.format is None:
        return _open_web(camera)
    if "://" in camera.source:
        return _stream(camera, _open_live(camera))
    return _recorded(camera) if camera.format in _GENERATORS else _open_path(camera, Path(camera.source))


def _open_live(camera: CameraSettings) -> VideoInput:
    """A stream or a device, by FFmpeg."""
    options = dict(_PROMPT)
    if camera.source.startswith(("rtsp://", "rtsps://")):
        options |= {"rtsp_transport": camera.transport, "allowed_media_types": "video"}
    if camera.source.startswith(("rtsps://", "https://", "rtmps://")):
        options["tls_verify"] = str(int(camera.verify_tls))
    place = Place.of(camera, options)
    if "://" not in camera.source and camera.format is None and Path(camera.source).is_char_device():
        place = Place(place.url, place.shown, _V4L2, place.options, place.silence_seconds)
    return VideoInput(place, key_frames_only=camera.key_frames_only)


def _open_path(camera: CameraSettings, path: Path) -> Source:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return FolderSource(path, loop=camera.loop)
        if not stat.S_ISREG(mode):  # a device or a pipe, of which a look would take something
            return _stream(camera, _open_live(camera))
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise troubles.no_file(str(path), error.strerror or str(error)) from error
    if camera.format is None and is_image(head):
        loop = shared_loop(path, size=camera.size or DEFAULT_SIZE, quality=camera.encoding_quality)
        return StillSource(loop, fps=camera.fps or DEFAULT_FPS)
    return _recorded(camera)


def _open_web(camera: CameraSettings) -> Source:
    door = Door(camera)
    response = door.open()
    kind = response.headers.get_content_maintype()
    if kind == "multipart":
        return MjpegSource(door, response, stall_seconds=camera.stall_seconds)
    if kind == "image":
        return SnapshotSource(door, response)
    response.close()
    video = _open_live(camera)
    if video.container.duration is None and video.container.format.name not in {"hls", "dash"}:
        return _stream(camera, video)
    video.close()
    return VideoSource(partial(_open_live, camera), loop=camera.loop)


def _stream(camera: CameraSettings, video: VideoInput) -> StreamSource:
    return StreamSource(video, stall_seconds=camera.stall_seconds, key_frames_only=camera.key_frames_only)


def _recorded(camera: CameraSettings) -> VideoSource:
    place = Place.of(camera, {}, silent=True)
    return VideoSource(partial(VideoInput, place, key_frames_only=camera.key_frames_only), loop=camera.loop)
