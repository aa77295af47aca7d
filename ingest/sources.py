"""Where a camera's pictures come from, and opening the right kind of it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from framemesh.errors import ConfigurationError
from ingest.folders import FolderSource
from ingest.pictures import Picture, Size, is_image
from ingest.settings import CameraSettings
from ingest.stills import DEFAULT_SIZE, StillLoop, StillSource
from ingest.videos import VideoSource

_Loops = dict[tuple[Path, Size, int], StillLoop]


class Source(Protocol):
    """Pictures without end. Reading decodes and encodes: do it in a thread, one read at a time."""

    def read(self) -> Picture:
        """The next picture.

        Raises:
            InvalidImageError: The next one is broken; reading again gives the one after.
            ImageTooLargeError: As above, for one over the limits.
            ConfigurationError: There is none at present, though there was one when the source was opened.
        """


def open_sources(cameras: tuple[CameraSettings, ...]) -> list[Source]:
    """Every camera's source, in order. Blocks.

    Raises:
        ExceptionGroup: Of a `ConfigurationError` for each source that can't be opened.
    """
    sources: list[Source] = []
    problems: list[ConfigurationError] = []
    loops: _Loops = {}
    for camera in cameras:
        try:
            sources.append(_open(camera, loops))
        except ConfigurationError as error:
            problems.append(ConfigurationError(f"camera {camera.name!r}: {error}", camera=camera.name, **error.values))
    if problems:
        raise ExceptionGroup("sources that can't be opened", problems)
    with ThreadPoolExecutor() as pool:  # rendering releases the GIL
        list(pool.map(StillLoop.fill, loops.values()))
    return sources


def _open(camera: CameraSettings, loops: _Loops) -> Source:
    path = Path(camera.source)
    if path.is_dir():
        return FolderSource(path, size=camera.size, quality=camera.encoding_quality)
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be opened: {error.strerror}; a source is an image, a folder of images or a video", path=path
        ) from error
    if not is_image(head):
        return VideoSource(path, size=camera.size, quality=camera.encoding_quality)
    key = (path, camera.size or DEFAULT_SIZE, camera.encoding_quality)
    if key not in loops:
        loops[key] = StillLoop(path, size=key[1], quality=camera.encoding_quality)
    return StillSource(loops[key], fps=camera.fps)
