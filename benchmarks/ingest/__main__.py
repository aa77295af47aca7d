"""`python -m benchmarks.ingest`: CPU for a 720p H.264 frame made a JPEG, in a camera agent and in FFmpeg's own program.

Both decode the same clip and encode at the same quality: FFmpeg's at the step of its scale that comes nearest to ours
in PSNR against the decoded frames. In each round both run one after the other, as processes of their own; what starting
takes is measured with one frame, and taken off.
"""

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from itertools import islice
from pathlib import Path
from statistics import median

import av
from PIL import Image, ImageChops, ImageStat

from benchmarks.ingest.camera import pictures
from benchmarks.ingest.clip import SIZE, make_clip
from benchmarks.ingest.ffmpeg import find_ffmpeg, to_jpegs

_CACHE = Path(__file__).parents[2] / ".bench"
_FRAMES = 250
_COMPARED = 25
_QUALITY = 80
_ROUNDS = 5
_LIMIT = 1.3


def main() -> None:
    """Measure and print."""
    ffmpeg = find_ffmpeg(_CACHE)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip, _FRAMES)
        scale = _nearest_scale(ffmpeg, clip, Path(folder))
        print(f"{_ROUNDS} rounds of {_FRAMES} frames of {SIZE.width_px} x {SIZE.height_px}, {ffmpeg}")
        ratios = []
        for _ in range(_ROUNDS):
            theirs = _milliseconds(lambda frames: to_jpegs(ffmpeg, clip, frames, scale=scale, into="-"))
            ours = _milliseconds(
                lambda frames: (sys.executable, "-m", "benchmarks.ingest.camera", str(clip), str(frames), str(_QUALITY))
            )
            print(f"FFmpeg {theirs:.2f} ms of CPU a frame, a camera agent {ours:.2f} ms")
            ratios.append(ours / theirs)
    print(
        f"a camera agent takes {median(ratios):.2f} of it ({min(ratios):.2f} to {max(ratios):.2f}); limit {_LIMIT:.2f}"
    )


def _nearest_scale(ffmpeg: str, clip: Path, folder: Path) -> int:
    """FFmpeg's step of quality that is nearest to ours."""
    with av.open(clip) as container:
        frames = [frame.to_image() for frame in islice(container.decode(video=0), _COMPARED)]  # type: ignore[no-untyped-call]
    ours = _psnr(frames, [picture.body for picture in islice(pictures(str(clip), quality=_QUALITY), _COMPARED)])
    found = {}
    for scale in range(2, 9):
        subprocess.run(to_jpegs(ffmpeg, clip, _COMPARED, scale=scale, into=str(folder / "%03d.jpg")), check=True)
        found[scale] = _psnr(frames, [path.read_bytes() for path in sorted(folder.glob("*.jpg"))])
    nearest = min(found, key=lambda scale: abs(found[scale] - ours))
    print(f"PSNR: ours {ours:.1f} dB at quality {_QUALITY}, FFmpeg's {found[nearest]:.1f} dB at -q:v {nearest}")
    return nearest


def _psnr(frames: list[Image.Image], bodies: list[bytes]) -> float:
    """Of JPEGs against what they were made of, in dB."""
    squares = []
    for frame, body in zip(frames, bodies, strict=True):
        difference = ImageStat.Stat(ImageChops.difference(frame, Image.open(BytesIO(body)).convert("RGB")))
        squares.append(sum(difference.sum2) / sum(difference.count))
    return 10 * math.log10(255**2 / (sum(squares) / len(squares)))


def _milliseconds(command: Callable[[int], tuple[str, ...]]) -> float:
    """CPU milliseconds a frame, without starting."""
    return (_cpu_seconds(command(_FRAMES)) - _cpu_seconds(command(1))) / (_FRAMES - 1) * 1e3


def _cpu_seconds(command: tuple[str, ...]) -> float:
    """User and system time of a process from its start to its end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
