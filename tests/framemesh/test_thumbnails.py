"""Small pictures of large ones."""

import struct
from io import BytesIO

import pytest
from PIL import Image

from framemesh.errors import ImageTooLargeError, InvalidImageError
from framemesh.thumbnails import thumbnail
from tests.pictures import encoded, jpeg, png_bomb


def small(body: bytes) -> bytes:
    return thumbnail(body, width_px=480, height_px=960)


def size_of(body: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(body)) as image:
        assert image.format == "JPEG"
        return image.size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_of_any_kind_becomes_a_small_jpeg_of_the_same_shape(kind: str) -> None:
    assert size_of(small(encoded(kind, size=(1920, 1080)))) == (480, 270)
    assert size_of(small(encoded(kind, size=(300, 2400)))) == (120, 960)
    assert size_of(small(encoded(kind, size=(64, 48)))) == (64, 48)


def test_a_picture_taken_sideways_is_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    out = BytesIO()
    Image.new("RGB", (1280, 720)).save(out, "JPEG", exif=exif)
    assert size_of(small(out.getvalue())) == (480, 853)


def test_a_damaged_note_of_which_way_up_it_is_is_damage() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0128] = 6, 2
    out = BytesIO()
    Image.new("RGB", (64, 48)).save(out, "JPEG", exif=exif)
    unit = struct.pack(">HHI", 0x0128, 3, 1)  # a number, of which Pillow makes a text and can't write it back
    assert unit in out.getvalue()
    with pytest.raises(InvalidImageError):
        small(out.getvalue().replace(unit, struct.pack(">HHI", 0x0128, 2, 1)))


def test_what_is_no_picture_is_refused() -> None:
    for body in (b"", b"hello", jpeg()[:300], jpeg(size=(640, 480))[:400] + b"\xff\xd9"):
        with pytest.raises(InvalidImageError):
            small(body)
    with pytest.raises(ImageTooLargeError):
        small(png_bomb(60_000, 60_000))
