"""The cameras of a mesh, as a user names them on the command line."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError, InternalError
from framemesh.limits import MAX_IMAGE_PIXELS
from framemesh.mesh.photos import NAMES, photo_folder
from framemesh.names import MAX_CAMERA_LENGTH, check_label, to_label

MAX_DEMO_CAMERAS = 64
SYNTAX = (
    "a number of demo cameras, 'none', a file as cameras.yaml, or NAME=SOURCE[,NAME=SOURCE]... where a source is a "
    "photo, a folder of photos, a video or a URL such as rtsp://10.0.0.7/main"
)


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """A camera to run.

    Attributes:
        name: A DNS label.
        source: Path or URL of what gives its pictures.
        fps: Frames a second at most; none leaves it to the source.
        size: Width and height of its frames in pixels; none leaves it to the source.
    """

    name: str
    source: str
    fps: float | None = None
    size: tuple[int, int] | None = None

    def settings(self) -> dict[str, object]:
        """The camera as the ingest service reads it."""
        width, height = self.size or (None, None)
        return {"name": self.name, "source": self.source, "fps": self.fps, "width_px": width, "height_px": height}


@dataclass(frozen=True, slots=True)
class Cameras:
    """What cameras to run: a list of them, or a file that the agent follows as it changes."""

    listed: tuple[CameraSpec, ...] = ()
    file: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.listed) or self.file is not None

    @property
    def checked_here(self) -> bool:
        """Whether nothing can be wrong with them that this module doesn't find."""
        return self.file is None and not any("://" in camera.source for camera in self.listed)

    def variables(self) -> dict[str, str]:
        """The cameras as the ingest service's environment says them."""
        return {
            "FRAMEMESH_CAMERAS": json.dumps([camera.settings() for camera in self.listed]) if self.listed else "",
            "FRAMEMESH_CAMERAS_FILE": str(self.file or ""),
        }


def parse_cameras(text: str, *, fps: float | None, size: str | None) -> Cameras:
    """The cameras in what a user types after `--cameras`.

    Args:
        text: As `SYNTAX` says.
        fps: Frames a second of each.
        size: Size of their frames, as `1280x720`.

    Raises:
        ConfigurationError: It can't be understood, or a path isn't there.
    """
    if fps is not None and not 0 < fps <= 240:
        raise ConfigurationError(f"--fps can't be {fps:g}: use a number over 0, up to 240")
    shape = None if size is None else _size(size)
    if text == "none":
        return Cameras()
    if "=" not in text and text.endswith((".yaml", ".yml")):
        if fps is not None or size is not None:
            raise ConfigurationError(f"--fps and --size are for cameras named here: write them into {text}")
        if not Path(text).is_file():
            raise ConfigurationError(f"--cameras: there is no file {text!r}")
        return Cameras(file=Path(text).absolute())
    sources = _demo(int(text)) if text.isdecimal() else _named(text.split(","))
    return Cameras(tuple(CameraSpec(name, source, fps, shape) for name, source in sources.items()))


def named_cameras(texts: list[str], *, fps: float | None) -> Cameras:
    """Cameras each written as NAME=SOURCE.

    Raises:
        ConfigurationError: One can't be understood, or a path isn't there.
    """
    return Cameras(tuple(CameraSpec(name, source, fps) for name, source in _named(texts).items()))


def check_cameras(cameras: Cameras, environment: Mapping[str, str] = os.environ) -> list[str]:
    """The names of cameras that the ingest service can use, as it says itself; takes half a second.

    Raises:
        ConfigurationError: It can't; the message has a line for each thing that is wrong.
    """
    argv = (sys.executable, "-m", "ingest.checking")
    variables = {**environment, **cameras.variables()}
    done = subprocess.run(argv, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode == EXIT_CONFIGURATION:
        raise ConfigurationError(done.stderr.strip())
    if done.returncode != 0:
        raise InternalError(f"checking the cameras ended with {done.returncode}:\n{done.stderr.strip()}")
    names: list[str] = json.loads(done.stdout)
    return names


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 0 < int(width) * int(height) <= MAX_IMAGE_PIXELS):
        raise ConfigurationError(
            f"--size can't be {text!r}: write WIDTHxHEIGHT, such as 1280x720, of at most {MAX_IMAGE_PIXELS:,} pixels"
        )
    return int(width), int(height)


def _demo(count: int) -> dict[str, str]:
    if not 1 <= count <= MAX_DEMO_CAMERAS:
        raise ConfigurationError(f"--cameras can be 1 to {MAX_DEMO_CAMERAS}, or none")
    folder = photo_folder()
    sources = {}
    for number in range(count):
        turn, place = divmod(number, len(NAMES))
        name = to_label(Path(NAMES[place]).stem, max_length=MAX_CAMERA_LENGTH)
        sources[f"{name}-{turn + 1}" if turn else name] = str(folder / NAMES[place])
    return sources


def _named(texts: list[str]) -> dict[str, str]:
    sources: dict[str, str] = {}
    for text in texts:
        name, equals, source = text.partition("=")
        if not equals:
            raise ConfigurationError(f"a camera can't be {text!r}: write {SYNTAX}")
        check_label("camera", name)
        if name in sources:
            raise ConfigurationError(f"two cameras are called {name!r}: give each its own name")
        if "://" not in source:
            if not Path(source).exists():
                raise ConfigurationError(f"camera {name!r}: there is no {source!r}")
            source = str(Path(source).resolve())
        sources[name] = source
    return sources
