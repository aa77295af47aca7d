"""Pictures and videos that the tests make for themselves."""

from io import BytesIO
from pathlib import Path

import av
from PIL import Image

GREYS = (16, 48, 80, 112, 144, 176, 208, 240)
"""Told apart after any codec."""


def jpeg(grey: int = 128, *, width: int = 64, height: int = 48) -> bytes:
    """A plain JPEG."""
    return image(grey, width=width, height=height, kind="JPEG")


def image(grey: int = 128, *, width: int = 64, height: int = 48, kind: str = "PNG") -> bytes:
    """A plain picture of any kind."""
    body = BytesIO()
    Image.new("RGB", (width, height), (grey, grey, grey)).save(body, kind)
    return body.getvalue()


def video(path: Path, *, codec: str = "libx264", width: int = 64, height: int = 48) -> Path:
    """A video of one plain frame for each of `GREYS`."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = width, height
        stream.pix_fmt = {"png": "rgb24", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        for grey in GREYS:
            plain = Image.new("RGB", (width, height), (grey, grey, grey))
            frame = av.VideoFrame.from_image(plain)  # type: ignore[no-untyped-call]  # PyAV has no annotation there
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    return path


def sound(path: Path) -> Path:
    """A file with audio alone."""
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def grey_of(body: bytes) -> int:
    """Which of `GREYS` a picture shows."""
    shown = Image.open(BytesIO(body)).convert("L").resize((1, 1)).tobytes()[0]
    return min(GREYS, key=lambda grey: abs(grey - shown))


def size_of(body: bytes) -> tuple[int, int]:
    """Width and height in pixels."""
    return Image.open(BytesIO(body)).size


def elementary_stream(codec: str, *, width: int = 64, height: int = 48) -> bytes:
    """One plain frame for each of `GREYS` as `h264`, `hevc` or `mjpeg`, with no container; the first is a key frame."""
    name, options = {
        "h264": ("libx264", {"tune": "zerolatency", "x264-params": "keyint=8:scenecut=0:repeat-headers=1"}),
        "hevc": ("libx265", {"x265-params": "keyint=8:bframes=0:scenecut=0:repeat-headers=1:log-level=none:pools=1"}),
        "mjpeg": ("mjpeg", {"huffman": "default"}),
    }[codec]  # fmt: skip
    body = BytesIO()
    with av.open(body, "w", format=codec) as container:
        stream = container.add_stream(name, rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.thread_count = 1  # more would part a JPEG by restart markers, which FFmpeg's RTP has no place for
        for grey in GREYS:
            plain = Image.new("RGB", (width, height), (grey, grey, grey))
            frame = av.VideoFrame.from_image(plain)  # type: ignore[no-untyped-call]  # PyAV has no annotation there
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    return body.getvalue()
