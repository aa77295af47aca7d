import zlib
from io import BytesIO

import pytest
from PIL import Image

from framemesh.errors import ImageTooLargeError, InvalidImageError
from framemesh.images import ImageHeader, read_header
from framemesh.limits import MAX_IMAGE_BYTES
from tests.pictures import encoded, jpeg, png_bomb


@pytest.mark.parametrize(
    ("kind", "content_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")]
)
def test_a_header_tells_kind_and_size(kind: str, content_type: str) -> None:
    assert read_header(encoded(kind, size=(320, 200))) == ImageHeader(content_type, 320, 200)


def test_a_jpeg_may_carry_more_after_its_end() -> None:
    assert read_header(jpeg() + b"\0" * 1000).content_type == "image/jpeg"


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"\xff\xd8\xff", b"GIF89a" + b"\0" * 100, encoded("PNG")[:20], b"RIFF\0\0\0\0WEBPVP8 "]
)
def test_what_is_no_image_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidImageError):
        read_header(body)


def test_a_cut_jpeg_is_refused_with_a_reason() -> None:
    out = BytesIO()
    Image.effect_noise((640, 480), 80).save(out, "JPEG")
    with pytest.raises(InvalidImageError, match="stops short"):
        read_header(out.getvalue()[:-1000])


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (7072, 7072), (1, 50_000_001)])
def test_an_image_bomb_is_refused_by_its_claim(width: int, height: int) -> None:
    with pytest.raises(ImageTooLargeError):
        read_header(png_bomb(width, height))


def test_a_file_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(ImageTooLargeError, match="8,388,608"):
        read_header(b"\xff\xd8" + b"\0" * MAX_IMAGE_BYTES)


def test_damaged_headers_never_come_out_as_anything_else() -> None:
    for good in (jpeg(), encoded("PNG"), encoded("WEBP")):
        for place in range(min(len(good), 400)):
            for value in (0, 255):
                body = good[:place] + bytes([value]) + good[place + 1 :]
                try:
                    read_header(body)
                except (InvalidImageError, ImageTooLargeError):
                    continue


@pytest.mark.parametrize(
    "filling",
    [b"\xff" * 8_000_000, b"\xff\xef\x00\x02" * 2_000_000, b"\xff\xd0" * 4_000_000, b"\x00" * 8_000_000],
    ids=["padding", "empty segments", "restart markers", "junk"],
)
def test_a_header_of_countless_parts_is_refused_before_pillow_walks_through_it(filling: bytes) -> None:
    good = jpeg()
    with pytest.raises(InvalidImageError, match="more parts"):
        read_header(good[:2] + filling + good[2:])


def test_a_png_of_countless_chunks_is_refused() -> None:
    good = encoded("PNG")
    chunk = b"\0\0\0\0teST" + zlib.crc32(b"teST").to_bytes(4, "big")
    with pytest.raises(InvalidImageError, match="more parts"):
        read_header(good[:33] + chunk * 600_000 + good[33:])


def test_a_jpeg_with_a_large_profile_is_read() -> None:
    out = BytesIO()
    Image.new("RGB", (64, 48)).save(out, "JPEG", icc_profile=b"x" * 4_000_000)
    assert read_header(out.getvalue()).width_px == 64
