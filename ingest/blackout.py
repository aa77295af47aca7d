"""Blacks a camera's masks out, in images and in decoded frames. Pure but for what it is handed, which it changes."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor

from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from PIL import Image, ImageDraw

from framemesh.errors import ConfigurationError
from ingest.masks import Mask
from ingest.pictures import Size

_PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p")
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_SAME_SHAPE = 0.01
"""How much the width to height of two pictures may differ that are the same but for their size, which was rounded."""


@dataclass(frozen=True, slots=True)
class _Spans:
    """The bytes of a plane to overwrite, as starts and ends in it."""

    places: tuple[tuple[int, int], ...]
    longest: int


class Blackout:
    """One camera's masks. They lie on the picture as the source means it to be seen, before any scaling or turning.

    A pixel that a mask touches at all is black. What they cover is worked out once for each size of picture.
    """

    def __init__(self, masks: tuple[Mask, ...]) -> None:
        self._masks = masks
        self._whole = Size(1, 1)
        self._rasters: dict[Size, Image.Image] = {}
        self._layout: tuple[object, ...] | None = None
        self._planes: list[_Spans] = []

    def check(self, size: Size) -> None:
        """Pass pictures of a size on which every mask covers what it was drawn to cover.

        Args:
            size: Of the whole picture, upright.

        Raises:
            ConfigurationError: A mask was drawn on a picture of another shape.
        """
        if size == self._whole:
            return
        for number, mask in enumerate(self._masks):
            width, height = mask.of_px or (size.width_px, size.height_px)
            if abs(width * size.height_px / (height * size.width_px) - 1) > _SAME_SHAPE:
                raise ConfigurationError(
                    f"masks[{number}] was drawn on a picture of {width} x {height} pixels, and the source's has "
                    f"{size.width_px} x {size.height_px}, of another shape: nothing is sent until of_px and the "
                    "coordinates fit it"
                )
        self._whole = size
        self._rasters.clear()
        self._layout = None

    def on_image(self, image: Image.Image) -> None:
        """Black them out in the upright picture that was checked last, or in the same scaled down, of mode L or RGB."""
        size = Size(*image.size)
        if size not in self._rasters:
            covered = _scaled(raster(self._masks, self._whole), size)
            self._rasters[size] = covered.convert("1")  # pastes ten times as fast as mode L
        image.paste(0 if image.mode == "L" else (0, 0, 0), mask=self._rasters[size])

    def on_frame(self, frame: VideoFrame, *, rotation: int) -> VideoFrame:
        """The frame with its masks blacked out; the decoder's own picture, which others may build on, stays as it is.

        Args:
            frame: Of the size that was checked last, in any pixel format; what isn't planar 8-bit YUV becomes it.
            rotation: Degrees counter-clockwise by which the frame must be turned to be upright.
        """
        if frame.format.name in _PLANAR:
            frame.make_writable()
        else:
            frame = frame.reformat(format="yuv420p")
        layout = (
            frame.format.name,
            rotation,
            *((plane.width, plane.height, plane.line_size) for plane in frame.planes),
        )
        if layout != self._layout:
            self._planes = [self._spans(plane, rotation) for plane in frame.planes]
            self._layout = layout
        full_range = frame.format.name.startswith("yuvj") or frame.color_range == _FULL_RANGE
        blacks = (0 if full_range else 16, 128, 128)
        for plane, spans, black in zip(frame.planes, self._planes, blacks, strict=True):
            view = memoryview(plane)
            fill = bytes((black,)) * spans.longest
            for start, end in spans.places:
                view[start:end] = fill[: end - start]
        return frame

    def _spans(self, plane: VideoPlane, rotation: int) -> _Spans:
        covered = raster(self._masks, self._whole).rotate(-rotation, expand=True)
        return _spans(_scaled(covered, Size(plane.width, plane.height)), plane.line_size)


def raster(masks: tuple[Mask, ...], size: Size) -> Image.Image:
    """What the masks cover of a picture: an image of mode L, 255 where a pixel is touched at all."""
    image = Image.new("L", (size.width_px, size.height_px))
    draw = ImageDraw.Draw(image)
    for mask in masks:
        corners = [(x * size.width_px, y * size.height_px) for x, y in mask.corners()]
        if mask.rectangle is not None:
            (left, top), _, (right, bottom), _ = corners
            draw.rectangle((floor(left), floor(top), ceil(right) - 1, ceil(bottom) - 1), fill=255)
        else:
            draw.polygon(corners, fill=255, outline=255)
            draw.line([*corners, *corners[:2]], fill=255, width=3)  # Pillow leaves out pixels covered by less than half
    return image


def _scaled(covered: Image.Image, size: Size) -> Image.Image:
    """What is covered of the same picture with fewer pixels, each of which stands for several of it.

    So are planes of colour, and images that were decoded at 1/2, 1/4 or 1/8.
    """
    steps = ceil(covered.width / size.width_px), ceil(covered.height / size.height_px)
    if (ceil(covered.width / steps[0]), ceil(covered.height / steps[1])) == (size.width_px, size.height_px):
        smaller = covered.reduce(steps)
    else:
        smaller = covered.resize((size.width_px, size.height_px), Image.Resampling.BOX)
    return smaller.point([0, *[255] * 255])


def _spans(covered: Image.Image, line_size: int) -> _Spans:
    """The covered pixels' bytes in a plane whose lines have so many bytes."""
    places: list[tuple[int, int]] = []
    for start, end in _runs(covered):
        row, column = divmod(start, covered.width)
        place = row * line_size + column
        places.append((place, place + end - start))
    return _Spans(tuple(places), max((end - start for start, end in places), default=0))


def _runs(covered: Image.Image) -> Iterator[tuple[int, int]]:
    """Starts and ends of the covered pixels of each row, counted through the image."""
    pixels, width = covered.tobytes(), covered.width
    for row in range(0, len(pixels), width):
        start = pixels.find(b"\xff", row, row + width)
        while start >= 0:
            end = pixels.find(b"\x00", start, row + width)
            end = row + width if end < 0 else end
            yield start, end
            start = pixels.find(b"\xff", end, row + width)
