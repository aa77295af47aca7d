"""Where a camera's shots come from, and opening the right kind of it."""

from pathlib import Path
from typing import Protocol

from framemesh.errors import ConfigurationError
from ingest.folders import FolderSource
from ingest.pictures import is_image
from ingest.settings import DEFAULT_FPS, CameraSettings
from ingest.shots import Shot
from ingest.stills import DEFAULT_SIZE, StillSource, shared_loop
from ingest.videos import VideoSource


class Source(Protocol):
    """One camera's shots. Reading blocks, and may decode: do it in a thread, one read at a time."""

    def read(self) -> Shot | None:
        """The next shot, when it is time for it; none at the end of what has one.

        Raises:
            InvalidImageError: The next one is broken; reading again gives the one after.
            ImageTooLargeError: As above, for one over the limits.
            ConfigurationError: There is none at present, though there was one when the source was opened.
        """

    def close(self) -> None:
        """Give back what it holds. Call it when no read is under way."""


def open_source(camera: CameraSettings) -> Source:
    """The camera's source. Blocks.

    Raises:
        ConfigurationError: It isn't there, or is nothing that pictures come from.
    """
    path = Path(camera.source)
    if path.is_dir():
        return FolderSource(path)
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be opened: {error.strerror}; a source is an image, a folder of images or a video", path=path
        ) from error
    if not is_image(head):
        return VideoSource(path)
    loop = shared_loop(path, size=camera.size or DEFAULT_SIZE, quality=camera.encoding_quality)
    return StillSource(loop, fps=camera.fps or DEFAULT_FPS)
