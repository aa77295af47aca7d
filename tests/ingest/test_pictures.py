from io import BytesIO

import pytest
from PIL import Image

from framemesh.errors import ImageTooLargeError, InvalidImageError
from ingest.pictures import Size, decode, encode, fitted, is_image
from tests.ingest.media import image, jpeg


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_images_are_known_by_how_they_begin(kind: str) -> None:
    body = image(kind=kind)
    assert is_image(body[:12])
    assert decode(body, at_least=None).size == (64, 48)


@pytest.mark.parametrize("head", [b"", b"RIFF", b"hello, world", b"RIFF\0\0\0\0WAVE"])
def test_other_files_are_no_images(head: bytes) -> None:
    assert not is_image(head)


def test_a_photo_taken_on_its_side_is_turned_upright() -> None:
    turned = Image.new("RGB", (64, 48))
    exif = turned.getexif()
    exif[0x0112] = 6
    body = BytesIO()
    turned.save(body, "JPEG", exif=exif)
    assert decode(body.getvalue(), at_least=None).size == (48, 64)


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size() -> None:
    assert decode(jpeg(width=1600, height=1600), at_least=Size(400, 300)).size == (400, 400)


def test_grey_and_transparent_images_come_out_in_colour() -> None:
    for mode in ("L", "LA", "RGBA", "P", "I;16"):
        body = BytesIO()
        Image.new(mode, (8, 8)).save(body, "PNG")
        assert decode(body.getvalue(), at_least=None).mode == "RGB"


def test_a_broken_image_is_invalid() -> None:
    whole = image(width=300, height=300)
    for body in (b"no image", whole[: len(whole) // 2], jpeg()[:100]):
        with pytest.raises(InvalidImageError):
            decode(body, at_least=None)


def test_an_image_over_the_limit_is_too_large() -> None:
    with pytest.raises(ImageTooLargeError):
        decode(jpeg() + bytes(9 << 20), at_least=None)


def test_fitting_takes_the_middle_at_the_size_asked_for() -> None:
    stripes = Image.new("RGB", (300, 100))
    stripes.paste((255, 255, 255), (100, 0, 200, 100))
    middle = fitted(stripes, Size(50, 50))
    assert middle.size == (50, 50)
    assert min(middle.tobytes()) > 200


def test_without_a_size_an_image_stays_as_it_is() -> None:
    plain = Image.new("RGB", (30, 20))
    assert fitted(plain, None) is plain
    assert fitted(plain, Size(30, 20)) is plain


def test_a_picture_knows_its_size_and_kind() -> None:
    picture = encode(Image.new("RGB", (30, 20)), quality=80)
    assert (picture.content_type, picture.size) == ("image/jpeg", Size(30, 20))
    assert decode(picture.body, at_least=None).size == (30, 20)
