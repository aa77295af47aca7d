"""FFmpeg's own program: that of this machine, or else the one in a wheel, in an environment of its own."""

import shutil
import subprocess
from pathlib import Path

from benchmarks.serving.environments import python_of

_WHEEL = "imageio-ffmpeg==0.8.1"
_WHERE = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"


def find_ffmpeg(cache: Path) -> str:
    """Its path.

    Raises:
        UnavailableError: There is none, and pip can't install one.
    """
    found = shutil.which("ffmpeg")
    if found is not None:
        return found
    python = python_of(cache, "ffmpeg", (_WHEEL,))
    return subprocess.run((str(python), "-c", _WHERE), check=True, capture_output=True, text=True).stdout.strip()


def to_jpegs(ffmpeg: str, clip: Path, frames: int, *, scale: int, into: str) -> tuple[str, ...]:
    """The command that makes JPEGs of a clip's first frames, on one thread, which costs it least.

    Args:
        ffmpeg: Its path.
        clip: The video.
        frames: How many.
        scale: Its own scale of quality, 2 for the best to 31.
        into: A pattern of files such as `%03d.jpg`; `-` for nowhere.
    """
    to = ("-f", "image2", into) if into != "-" else ("-f", "null", "-")
    return (
        ffmpeg, "-loglevel", "error", "-nostdin", "-threads", "1", "-i", str(clip), "-frames:v", str(frames),
        "-threads", "1", "-c:v", "mjpeg", "-q:v", str(scale), *to,
    )  # fmt: skip
