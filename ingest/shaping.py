"""From a source's shots to the pictures that are sent."""

import time
from collections.abc import Callable
from functools import cache
from io import BytesIO

import av.error
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from PIL import Image

from framemesh.errors import InvalidImageError
from ingest.blackout import Blackout
from ingest.changes import CELLS, ChangeFilter
from ingest.pictures import JPEG, Picture, Size, decode, encode, encode_frame, fitted, turned, upright_size
from ingest.settings import CameraSettings
from ingest.shots import Shot
from ingest.turning import Turner

_TURNS = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
"""Pillow turns counter-clockwise."""


class Shaper:
    """Makes one camera's pictures. Decodes and encodes: call it in a thread, one shot at a time.

    Args:
        camera: What is asked for.
        clock: Seconds that only run forward.
    """

    def __init__(self, camera: CameraSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._camera = camera
        self._clock = clock
        self._turner = Turner()
        self._scaler, self._cell_scaler = VideoReformatter(), VideoReformatter()
        self._blackout = Blackout(camera.masks) if camera.masks else None
        self._filter = (
            ChangeFilter(min_change=camera.min_change, max_silence_seconds=camera.max_silence_seconds)
            if camera.min_change is not None
            else None
        )

    def shape(self, shot: Shot) -> Picture | None:
        """The picture to send; none where it hardly differs from the last. A JPEG that is as asked for stays as it is.

        Raises:
            InvalidImageError: The shot's picture is damaged.
            ImageTooLargeError: It is over `framemesh.limits`.
            ConfigurationError: A mask can't be applied to it.
        """
        if isinstance(shot.content, VideoFrame):
            try:
                return self._shape_frame(shot.content, shot.rotation)
            except av.error.FFmpegError as error:
                raise InvalidImageError(f"a decoded frame can't be converted: {error.strerror}") from error
        return self._shape_picture(shot.content)

    def _shape_frame(self, frame: VideoFrame, rotation: int) -> Picture | None:
        upright = turned(Size(frame.width, frame.height), rotation)
        if self._blackout is not None:
            self._blackout.check(upright)
        if not self._differs(lambda: _cells_of_frame(frame, rotation, self._cell_scaler)):
            return None
        if self._blackout is not None:
            frame = self._blackout.on_frame(frame, rotation=rotation)
        frame = self._turner.turned(frame, rotation - self._camera.rotate)
        target = self._target(Size(frame.width, frame.height))
        return encode_frame(frame, target, quality=self._camera.encoding_quality, scaler=self._scaler)

    def _shape_picture(self, picture: Picture) -> Picture | None:
        upright = upright_size(picture.body)
        if self._blackout is not None:
            self._blackout.check(upright)
        if not self._differs(lambda: _cells_of_picture(picture.body)):
            return None
        target = self._target(turned(upright, self._camera.rotate))
        if self._passes_untouched(picture, target):
            return picture
        image = decode(picture.body, at_least=target, from_top_left=self._blackout is not None)
        if self._blackout is not None:
            self._blackout.on_image(image)
        image = fitted(image, None if target is None else turned(target, self._camera.rotate))
        if self._camera.rotate:
            image = image.transpose(_TURNS[self._camera.rotate])
        return encode(image, quality=self._camera.encoding_quality)

    def _differs(self, cells: Callable[[], Image.Image]) -> bool:
        if self._filter is None:
            return True
        seen = cells()
        if self._blackout is not None:
            self._blackout.on_image(seen)
        return self._filter.passes(seen, self._clock())

    def _target(self, size: Size) -> Size | None:
        """What a picture of this size, the right way up and turned, is to become; none where it may stay as it is."""
        if self._camera.size is not None:
            return None if size == self._camera.size else self._camera.size
        scale = min(
            (self._camera.max_width_px or size.width_px) / size.width_px,
            (self._camera.max_height_px or size.height_px) / size.height_px,
        )
        if scale >= 1:
            return None
        return Size(max(1, round(size.width_px * scale)), max(1, round(size.height_px * scale)))

    def _passes_untouched(self, picture: Picture, target: Size | None) -> bool:
        return (
            picture.content_type == JPEG
            and target is None
            and not self._camera.rotate
            and self._blackout is None
            and (self._camera.quality is None or not _is_finer(picture.body, self._camera.quality))
        )


def _cells_of_frame(frame: VideoFrame, rotation: int, scaler: VideoReformatter) -> Image.Image:
    """The frame upright in grey cells: 0.2 ms of 720p, without a look at the colours."""
    width, height = CELLS if rotation % 180 == 0 else CELLS[::-1]
    plane = scaler.reformat(frame, width, height, format="gray", interpolation="AREA").planes[0]
    cells = Image.frombytes("L", (width, height), bytes(plane), "raw", "L", plane.line_size)
    return cells.rotate(rotation, expand=True)


def _cells_of_picture(body: bytes) -> Image.Image:
    """As above, of an encoded picture, of which a JPEG is decoded at an eighth of its size."""
    return decode(body, at_least=Size(*CELLS)).convert("L").resize(CELLS, Image.Resampling.BOX)


def _is_finer(body: bytes, quality: int) -> bool:
    """Whether a JPEG was quantised in smaller steps than one of this quality is."""
    return _steps(body) < _steps_of(quality)


@cache
def _steps_of(quality: int) -> int:
    return _steps(encode(Image.new("RGB", (8, 8)), quality=quality).body)


def _steps(body: bytes) -> int:
    """The sum of a JPEG's steps in brightness, whose table is the first."""
    try:
        with Image.open(BytesIO(body), formats=("JPEG",)) as image:
            tables = image.quantization  # type: ignore[attr-defined]  # of a JPEG
            return sum(tables[min(tables)])
    except Exception as error:  # on damaged files Pillow's decoders raise whatever comes up
        raise InvalidImageError(f"the image is damaged: {error}") from error
