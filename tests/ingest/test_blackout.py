import random
from fractions import Fraction

import av
import pytest
from PIL import Image, ImageChops

from framemesh.errors import ConfigurationError
from ingest.blackout import Blackout, raster
from ingest.masks import Mask
from ingest.pictures import Size, turned

TRIANGLE = Mask(polygon=((0.1, 0.2), (0.9, 0.4), (0.3, 0.9)))


def rectangle(*edges: float, of_px: tuple[int, int] | None = None) -> Mask:
    return Mask.model_validate({"rectangle": edges, "of_px": of_px})


def holds(corners: list[tuple[float, float]], x: float, y: float) -> bool:
    """Whether a point lies in a polygon, by counting the sides to its right."""
    inside = False
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside


@pytest.mark.parametrize("size", [Size(64, 48), Size(37, 51), Size(5, 4)])
def test_every_pixel_that_a_mask_touches_is_covered(size: Size) -> None:
    chance = random.Random(3)  # noqa: S311 - no secret
    triangles = [tuple((chance.random(), chance.random()) for _ in range(3)) for _ in range(10)]
    masks = [TRIANGLE, rectangle(0.013, 0.5, 0.51, 0.99), *(Mask(polygon=corners) for corners in triangles)]
    for mask in masks:
        covered = raster((mask,), size).tobytes()
        corners = [(x * size.width_px, y * size.height_px) for x, y in mask.corners()]
        for y in range(size.height_px):
            for x in range(size.width_px):
                if any(holds(corners, x + dx / 10, y + dy / 10) for dx in (1, 5, 9) for dy in (1, 5, 9)):
                    assert covered[y * size.width_px + x] == 255, (mask, x, y)


def test_a_rectangle_covers_no_pixel_more_than_it_touches() -> None:
    covered = raster((rectangle(10, 5, 20, 15, of_px=(40, 30)),), Size(40, 30))
    assert (covered.getbbox(), covered.histogram()[255]) == ((10, 5, 20, 15), 100)


def test_a_picture_decoded_at_an_eighth_is_covered_where_the_whole_one_would_be() -> None:
    blackout = Blackout((rectangle(0.5, 0.5, 1, 1),))
    blackout.check(Size(1277, 719))  # whose last pixels fill but a part of the last one at an eighth
    image = Image.new("L", (160, 90), 255)
    blackout.on_image(image)
    assert ImageChops.invert(image).getbbox() == (int(1277 / 2 / 8), int(719 / 2 / 8), 160, 90)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
@pytest.mark.parametrize(
    "kind", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "yuyv422", "yuv420p10le", "gray", "rgb24"]
)
def test_frames_of_any_kind_are_black_where_images_are(kind: str, rotation: int) -> None:
    raw = Size(61, 46)
    plain = Image.new("RGB", (raw.width_px, raw.height_px), (200, 90, 60))
    frame = av.VideoFrame.from_image(plain).reformat(format=kind)  # type: ignore[no-untyped-call]
    blackout = Blackout((TRIANGLE, rectangle(0, 0, 0.2, 0.1)))
    upright = turned(raw, rotation)
    blackout.check(upright)
    expected = Image.new("L", (upright.width_px, upright.height_px), 255)
    blackout.on_image(expected)
    expected = expected.rotate(-rotation, expand=True)
    for _ in range(2):  # the second time from what was worked out
        shown = blackout.on_frame(frame, rotation=rotation)
        luma, *chroma = (
            Image.frombytes("L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size)
            for plane in shown.planes
        )
        for x in range(raw.width_px):
            for y in range(raw.height_px):
                assert (luma.getpixel((x, y)) in {0, 16}) == (expected.getpixel((x, y)) == 0)
                if expected.getpixel((x, y)) == 0:
                    for plane in chroma:
                        place = x // round(raw.width_px / plane.width), y // round(raw.height_px / plane.height)
                        assert plane.getpixel(place) == 128
        assert any(set(plane.tobytes()) != {128} for plane in chroma) == (kind != "gray")


def test_a_picture_that_the_decoder_still_builds_on_stays_as_it_is() -> None:
    plain = Image.new("RGB", (64, 48), (200, 200, 200))
    frame = av.VideoFrame.from_image(plain).reformat(format="yuv420p")  # type: ignore[no-untyped-call]
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = 64, 48, "yuv420p", Fraction(25)
    encoder.options = {"tune": "zerolatency"}
    packets = [packet for _ in range(4) for packet in encoder.encode(frame)] + list(encoder.encode(None))
    decoder = av.CodecContext.create("h264", "r")
    blackout = Blackout((rectangle(0, 0, 1, 1),))
    blackout.check(Size(64, 48))
    greys = []
    for packet in packets:
        for decoded in decoder.decode(packet):  # each of the later ones repeats the one before
            assert isinstance(decoded, av.VideoFrame)
            greys.append(bytes(decoded.planes[0])[0])
            assert set(bytes(blackout.on_frame(decoded, rotation=0).planes[0])) == {16}
    assert len(greys) == 4
    assert min(greys) > 150


def test_a_mask_drawn_on_a_picture_of_another_shape_can_not_be_applied() -> None:
    blackout = Blackout((rectangle(0, 0, 100, 100, of_px=(1280, 720)),))
    blackout.check(Size(1920, 1080))
    blackout.check(Size(640, 360))
    with pytest.raises(ConfigurationError, match=r"masks\[0\] was drawn on .*1280 x 720 .*has 640 x 480"):
        blackout.check(Size(640, 480))
    with pytest.raises(ConfigurationError):
        blackout.check(Size(640, 480))
