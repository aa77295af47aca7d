"""The cameras of a mesh, as a user names them on the command line."""

from dataclasses import dataclass
from pathlib import Path

from framemesh.errors import ConfigurationError
from framemesh.limits import MAX_IMAGE_PIXELS
from framemesh.mesh.photos import NAMES, photo_folder
from framemesh.names import MAX_CAMERA_LENGTH, check_label, to_label

MAX_DEMO_CAMERAS = 64
SYNTAX = "a number of demo cameras, 'none', or NAME=PATH[,NAME=PATH]... of photos, folders of photos or videos"


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """A camera to run.

    Attributes:
        name: A DNS label.
        source: Path of a photo, a folder of photos or a video.
        fps: Frames a second.
        width_px: Width of its frames.
        height_px: Height of its frames.
    """

    name: str
    source: Path
    fps: float
    width_px: int
    height_px: int

    def settings(self) -> dict[str, object]:
        """The camera as the ingest service reads it."""
        return {
            "name": self.name,
            "source": str(self.source),
            "fps": self.fps,
            "width_px": self.width_px,
            "height_px": self.height_px,
        }


def parse_cameras(text: str, *, fps: float, size: str) -> tuple[CameraSpec, ...]:
    """The cameras in what a user types after `--cameras`.

    Args:
        text: As `SYNTAX` says.
        fps: Frames a second of each.
        size: Size of their frames, as `1280x720`.

    Raises:
        ConfigurationError: It can't be understood, or a path isn't there.
    """
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 0 < int(width) * int(height) <= MAX_IMAGE_PIXELS):
        raise ConfigurationError(
            f"--size can't be {size!r}: write WIDTHxHEIGHT, such as 1280x720, of at most {MAX_IMAGE_PIXELS:,} pixels"
        )
    if not 0 < fps <= 240:
        raise ConfigurationError(f"--fps can't be {fps:g}: use a number over 0, up to 240")
    if text == "none":
        return ()
    sources = _demo(int(text)) if text.isdecimal() else _named(text)
    return tuple(CameraSpec(name, path, fps, int(width), int(height)) for name, path in sources.items())


def _demo(count: int) -> dict[str, Path]:
    if not 1 <= count <= MAX_DEMO_CAMERAS:
        raise ConfigurationError(f"--cameras can be 1 to {MAX_DEMO_CAMERAS}, or none")
    folder = photo_folder()
    sources = {}
    for number in range(count):
        turn, place = divmod(number, len(NAMES))
        name = to_label(Path(NAMES[place]).stem, max_length=MAX_CAMERA_LENGTH)
        sources[f"{name}-{turn + 1}" if turn else name] = folder / NAMES[place]
    return sources


def _named(text: str) -> dict[str, Path]:
    sources: dict[str, Path] = {}
    for part in text.split(","):
        name, equals, path = part.partition("=")
        if not equals:
            raise ConfigurationError(f"--cameras can't be {text!r}: write {SYNTAX}")
        check_label("camera", name)
        if name in sources:
            raise ConfigurationError(f"two cameras are called {name!r}: give each its own name")
        if not Path(path).exists():
            raise ConfigurationError(f"camera {name!r}: there is no {path!r}")
        sources[name] = Path(path).resolve()
    return sources
