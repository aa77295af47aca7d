from io import BytesIO

import pytest
from av.video.frame import VideoFrame
from PIL import Image, ImageChops, ImageStat

from framemesh.errors import ImageTooLargeError, InvalidImageError
from ingest.pictures import Size, decode, encode, encode_frame, fitted, is_image
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


def quarters() -> Image.Image:
    """An image that is another one when it is mirrored or cut elsewhere."""
    whole = Image.new("RGB", (160, 120), (200, 30, 30))
    whole.paste((30, 200, 30), (80, 0, 160, 60))
    whole.paste((30, 30, 200), (0, 60, 80, 120))
    return whole


@pytest.mark.parametrize("size", [None, Size(160, 120), Size(80, 60), Size(50, 90), Size(333, 77), Size(1, 1)])
def test_a_decoded_frame_is_fitted_as_an_image_is(size: Size | None) -> None:
    frame = VideoFrame.from_image(quarters())  # type: ignore[no-untyped-call]  # PyAV has no annotation there
    picture = encode_frame(frame.reformat(format="yuv420p"), size, quality=90)
    expected = fitted(quarters(), size)
    assert (picture.content_type, picture.size) == ("image/jpeg", Size(*expected.size))
    difference = ImageChops.difference(decode(picture.body, at_least=None), expected)
    assert max(ImageStat.Stat(difference).mean) < 15  # edges are blurred; a picture cut elsewhere differs by 60


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj422p", "gray", "rgb24", "rgb0", "yuv420p10le", "nv12"])
def test_a_frame_in_any_pixel_format_and_of_any_width_is_encoded(pixels: str) -> None:
    frame = VideoFrame.from_image(Image.new("RGB", (98, 50), (90, 90, 90)))  # type: ignore[no-untyped-call]
    shown = decode(encode_frame(frame.reformat(format=pixels), None, quality=90).body, at_least=None)
    assert shown.size == (98, 50)
    assert all(abs(level - 90) <= 4 for level in ImageStat.Stat(shown).mean)
