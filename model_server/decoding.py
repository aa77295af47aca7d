"""From an encoded image to RGB pixels, no larger than the model needs."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from framemesh.errors import InvalidImageError
from framemesh.images import DAMAGE, FORMATS, opened
from model_server.geometry import Size

_ORIENTATION = 0x0112  # the EXIF tag
_QUARTER_TURNS = range(5, 9)  # its values that swap width and height
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image whose header is read.

    Attributes:
        size: As people see it: turned as its EXIF says.
    """

    size: Size
    _image: Image.Image
    _orientation: int

    def decode(self, at_least: Size) -> Image.Image:
        """The pixels in mode RGB, turned as the EXIF says.

        A JPEG comes at the smallest of 1/1, 1/2, 1/4 and 1/8 of its size that still holds `at_least`: its decoder
        makes these for a fraction of the time (1920x1080 in 4 ms rather than 20).

        Alpha is dropped, not blended: it is how transformers' own `load_image` sees such images.

        Raises:
            InvalidImageError: The data is damaged or stops short.
        """
        turned = self._orientation in _QUARTER_TURNS
        wanted = at_least.turned() if turned else at_least
        try:
            self._image.draft(None, (wanted.width, wanted.height))
            image = _rgb(self._image)
        except DAMAGE as error:
            raise _damaged(error) from None
        method = _UPRIGHT.get(self._orientation)
        return image if method is None else image.transpose(method)


def open_image(body: bytes) -> EncodedImage:
    """Read an image's header, and for a PNG its checksums, which decoding alone would ignore.

    A JPEG has none: damage within its pixels shows only where the decoder stumbles over it.

    Raises:
        InvalidImageError: Not a JPEG, PNG or WebP, or one that is visibly cut or damaged.
        ImageTooLargeError: Over the limit of bytes or pixels.
    """
    image = opened(body)
    if image.format == "PNG":
        try:
            image.verify()  # takes the image with it
        except DAMAGE as error:
            raise _damaged(error) from None
        image = Image.open(BytesIO(body), formats=FORMATS)
    orientation = _orientation_of(image)
    size = Size(*image.size)
    return EncodedImage(size.turned() if orientation in _QUARTER_TURNS else size, image, orientation)


def _damaged(error: Exception) -> InvalidImageError:
    return InvalidImageError(f"the image is damaged: {error}")


def _orientation_of(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except DAMAGE:  # metadata alone must not cost us the picture; damaged pixels show in decoding
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits of grey to 8, so that all but black turns white
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB, Pillow warns
    return image.convert("RGB")
