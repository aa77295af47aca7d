"""The video that is decoded: a photo in motion under the noise of a camera's sensor, as H.264."""

from pathlib import Path

import av
from PIL import Image, ImageChops

from framemesh.mesh.photos import photo_folder
from ingest.motion import window
from ingest.pictures import Size

SIZE = Size(1280, 720)
FPS = 25
_NOISE = 24
_NOISES = 4
_BITS_PER_SECOND = 4_000_000


def make_clip(path: Path, frames: int) -> None:
    """Write it; takes about 50 ms a frame."""
    photo = Image.open(photo_folder() / "coffee.png").convert("RGB")
    size = (SIZE.width_px, SIZE.height_px)
    noises = [Image.merge("RGB", [Image.effect_noise(size, _NOISE)] * 3) for _ in range(_NOISES)]
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "fast", "b": str(_BITS_PER_SECOND)})
        assert isinstance(stream, av.VideoStream)  # noqa: S101 - what that codec makes
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, "yuv420p", 2 * FPS
        for number in range(frames):
            shown = photo.resize(size, Image.Resampling.BICUBIC, box=window(number / frames, Size(*photo.size), SIZE))
            noisy = ImageChops.add(shown, noises[number % _NOISES], 1, -128)
            container.mux(stream.encode(av.VideoFrame.from_image(noisy)))  # type: ignore[no-untyped-call]
        container.mux(stream.encode(None))
