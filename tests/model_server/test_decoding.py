import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from framemesh.errors import ImageTooLargeError, InvalidImageError
from model_server.decoding import open_image
from model_server.geometry import Size
from tests.model_server.servers import encoded

WANTED = Size(224, 224)


@pytest.mark.parametrize(
    ("size", "decoded"),
    [
        ((1920, 1080), (480, 270)),
        ((1921, 1081), (481, 271)),
        ((3840, 2160), (480, 270)),
        ((448, 448), (224, 224)),
        ((447, 448), (447, 448)),
        ((100, 50), (100, 50)),
    ],
)
def test_a_jpeg_comes_at_the_smallest_scale_that_is_large_enough(
    chelsea: Image.Image, size: tuple[int, int], decoded: tuple[int, int]
) -> None:
    image = open_image(encoded(chelsea.resize(size), "JPEG"))
    assert image.size == Size(*size)
    assert image.decode(WANTED).size == decoded


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_an_image_is_turned_as_its_exif_says(chelsea: Image.Image, orientation: int, image_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = encoded(chelsea, image_format, exif=exif)
    image = open_image(body)
    upright = ImageOps.exif_transpose(Image.open(BytesIO(body))).convert("RGB")
    assert image.size == Size(*upright.size)
    np.testing.assert_array_equal(np.asarray(image.decode(image.size)), np.asarray(upright))


def test_scale_is_chosen_for_the_turned_image(chelsea: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = open_image(encoded(chelsea.resize((1600, 400)), "JPEG", exif=exif))
    assert image.size == Size(400, 1600)
    assert image.decode(Size(100, 800)).size == (200, 800)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_cost_the_picture(chelsea: Image.Image) -> None:
    image = open_image(encoded(chelsea, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    assert image.decode(WANTED).mode == "RGB"


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_every_mode_of_png_becomes_rgb_as_transformers_reads_it(chelsea: Image.Image, mode: str) -> None:
    body = encoded(chelsea.convert(mode))
    expected = np.asarray(Image.open(BytesIO(body)).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(open_image(body).decode(WANTED)), expected)


def test_a_palette_with_alpha_becomes_rgb(chelsea: Image.Image) -> None:
    body = encoded(chelsea.convert("P"), transparency=bytes([0, 128]))
    assert open_image(body).decode(WANTED).mode == "RGB"


def test_cmyk_becomes_rgb_in_its_true_colours(chelsea: Image.Image) -> None:
    decoded = open_image(encoded(chelsea.convert("CMYK"), "JPEG", quality=95)).decode(WANTED)
    difference = np.abs(np.asarray(decoded, np.int16) - np.asarray(chelsea, np.int16))
    assert difference.mean() < 4


def test_sixteen_bits_of_grey_keep_their_shades() -> None:
    shades = np.linspace(0, 65535, 256 * 16).reshape(16, 256).astype(np.uint16)
    decoded = np.asarray(open_image(encoded(Image.fromarray(shades))).decode(WANTED))
    np.testing.assert_array_equal(decoded[..., 0], shades >> 8)
    np.testing.assert_array_equal(decoded[..., 0], decoded[..., 2])


@pytest.mark.parametrize(
    "body", [b"", b"no image at all", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 "]
)
def test_what_is_no_image_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidImageError):
        open_image(body)


def test_a_jpeg_without_its_end_is_refused(chelsea: Image.Image) -> None:
    with pytest.raises(InvalidImageError, match="cut"):
        open_image(encoded(chelsea, "JPEG")[:-2000])


def test_a_jpeg_that_is_cut_behind_anothers_end_marker_is_refused(chelsea: Image.Image) -> None:
    thumbnail = encoded(chelsea.resize((16, 16)), "JPEG")
    whole = encoded(chelsea, "JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    image = open_image((whole[:2] + comment + whole[2:])[: len(whole) // 2])
    with pytest.raises(InvalidImageError, match="truncated"):
        image.decode(WANTED)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_half_an_image_is_refused(chelsea: Image.Image, image_format: str) -> None:
    body = encoded(chelsea, image_format)
    with pytest.raises(InvalidImageError):
        open_image(body[: len(body) // 2]).decode(WANTED)


def test_a_png_with_flipped_bits_is_refused(chelsea: Image.Image) -> None:
    body = bytearray(encoded(chelsea))
    body[len(body) // 2] ^= 0xFF
    with pytest.raises(InvalidImageError):
        open_image(bytes(body)).decode(WANTED)


def test_an_image_that_claims_to_be_huge_is_refused_unread(chelsea: Image.Image) -> None:
    body = bytearray(encoded(chelsea.resize((8, 8)), "JPEG"))
    start = body.index(b"\xff\xc0") + 5
    body[start : start + 4] = struct.pack(">HH", 60000, 60000)
    with pytest.raises(ImageTooLargeError, match="pixels"):
        open_image(bytes(body))


def test_photos_on_disk_decode(photos: Path) -> None:
    for path in sorted(photos.glob("*.jpg")):
        assert open_image(path.read_bytes()).decode(WANTED).mode == "RGB"
