"""Encoded pictures, and the way to them: decode, fit to a size, encode as JPEG. Pure."""

from dataclasses import dataclass
from io import BytesIO

from av.video.frame import VideoFrame
from PIL import ExifTags, Image, ImageOps

from framemesh.errors import InvalidImageError
from framemesh.images import FORMATS, read_header

JPEG = "image/jpeg"


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width_px: int
    height_px: int


def turned(size: Size, degrees: int) -> Size:
    """The size after a turn by a multiple of 90 degrees, either way."""
    return size if degrees % 180 == 0 else Size(size.height_px, size.width_px)


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image."""

    body: bytes
    content_type: str
    size: Size


def is_image(head: bytes) -> bool:
    """Whether a file that begins so is a JPEG, PNG or WebP, sound or not.

    Args:
        head: Its first 12 bytes or more.
    """
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (head[:4], head[8:12]) == (b"RIFF", b"WEBP")


def decode(body: bytes, *, at_least: Size | None) -> Image.Image:
    """The image in RGB, the right way up.

    Args:
        body: A JPEG, PNG or WebP.
        at_least: The size that is needed; a JPEG much larger is decoded at 1/2, 1/4 or 1/8 of its own, which is faster.

    Raises:
        InvalidImageError: It isn't such an image, or a broken one.
        ImageTooLargeError: Over `framemesh.limits`.
    """
    read_header(body)
    try:
        image = Image.open(BytesIO(body), formats=FORMATS)
        if at_least is not None:
            if lies_on_its_side(image):
                at_least = turned(at_least, 90)
            image.draft("RGB", (at_least.width_px, at_least.height_px))
        ImageOps.exif_transpose(image, in_place=True)  # copying what is upright would take longer than decoding it
        return image if image.mode == "RGB" else image.convert("RGB")
    except Exception as error:  # on damaged files Pillow's decoders raise whatever comes up
        raise InvalidImageError(f"the image is damaged: {error}") from error


def lies_on_its_side(image: Image.Image) -> bool:
    """Whether an image says of itself that width and height are swapped when it is upright."""
    return image.getexif().get(ExifTags.Base.Orientation) in {5, 6, 7, 8}


def fitted(image: Image.Image, size: Size | None) -> Image.Image:
    """The largest centred part that has the size's shape, at that size; without a size, the image as it is."""
    if size is None or image.size == (size.width_px, size.height_px):
        return image
    return ImageOps.fit(image, (size.width_px, size.height_px), Image.Resampling.BICUBIC)


def encode(image: Image.Image, *, quality: int) -> Picture:
    """The RGB image as a JPEG."""
    body = BytesIO()
    image.save(body, "JPEG", quality=quality)
    return Picture(body.getvalue(), JPEG, Size(*image.size))


def encode_frame(frame: VideoFrame, size: Size | None, *, quality: int, rotation: int = 0) -> Picture:
    """The decoded frame as a JPEG.

    Args:
        frame: In any pixel format.
        size: What it is to be fitted to, as by `fitted`; none to keep its own.
        quality: As libjpeg counts, 1 to 95.
        rotation: Degrees counter-clockwise by which it is turned first: 0, 90, 180 or -90.
    """
    image = frame.to_image()  # type: ignore[no-untyped-call]  # PyAV has no annotation there
    if rotation:
        image = image.rotate(rotation, expand=True)
    return encode(fitted(image, size), quality=quality)
