from collections.abc import Callable
from io import BytesIO
from typing import Any

import av
import pytest
from PIL import Image

from framemesh.errors import ConfigurationError, InvalidImageError
from ingest.pictures import JPEG, Picture, Size, encode
from ingest.settings import CameraSettings
from ingest.shaping import Shaper
from ingest.shots import Shot

WHOLE = Size(64, 48)
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "white": (240, 240, 240)}
TOP_LEFT = {"rectangle": [0, 0, 0.5, 0.5]}


def shaper(clock: Callable[[], float] = lambda: 0.0, /, **camera: Any) -> Shaper:
    return Shaper(CameraSettings.model_validate({"name": "gate", "source": "a.jpg", **camera}), clock=clock)


def quarters(size: Size = WHOLE) -> Image.Image:
    """Red and green above blue and white."""
    image = Image.new("RGB", (2, 2))
    image.putdata(list(COLOURS.values()))
    return image.resize((size.width_px, size.height_px), Image.Resampling.NEAREST)


def picture(image: Image.Image, *, quality: int = 80) -> Shot:
    return Shot(encode(image, quality=quality))


def frame(image: Image.Image, *, rotation: int = 0) -> Shot:
    decoded = av.VideoFrame.from_image(image).reformat(format="yuv420p")  # type: ignore[no-untyped-call]
    return Shot(decoded, rotation=rotation)


def shown(made: Picture | None) -> list[str]:
    """Names of a picture's quarters: above, then below."""
    assert made is not None
    assert made.content_type == JPEG
    image = Image.open(BytesIO(made.body)).convert("RGB")
    assert image.size == (made.size.width_px, made.size.height_px)
    known = COLOURS | {"black": (0, 0, 0)}
    middles = [(image.width * x // 4, image.height * y // 4) for y in (1, 3) for x in (1, 3)]

    def name(pixel: Any) -> str:
        return min(known, key=lambda one: sum(abs(a - b) for a, b in zip(known[one], pixel, strict=True)))

    return [name(image.getpixel(place)) for place in middles]


both = pytest.mark.parametrize("shot", [picture, frame])


def test_a_jpeg_passes_untouched_where_nothing_is_asked_of_it() -> None:
    shot = picture(quarters())
    for camera in ({}, {"width_px": 64, "height_px": 48}, {"max_width_px": 64}, {"max_height_px": 400}):
        assert shaper(**camera).shape(shot) is shot.content


def test_a_jpeg_is_encoded_anew_only_where_it_is_finer_than_the_quality_asked_for() -> None:
    fine = picture(quarters(), quality=90)
    assert shaper(quality=90).shape(fine) is fine.content
    assert shaper(quality=95).shape(fine) is fine.content
    made = shaper(quality=50).shape(fine)
    assert made is not None
    assert shaper(quality=50).shape(Shot(made)) is made


@both
def test_what_is_masked_is_black_and_the_rest_is_not(shot: Callable[[Image.Image], Shot]) -> None:
    assert shown(shaper(masks=[TOP_LEFT]).shape(shot(quarters()))) == ["black", "green", "blue", "white"]


@both
@pytest.mark.parametrize(
    ("rotate", "size", "quarters_shown"),
    [
        (0, Size(64, 48), ["black", "green", "blue", "white"]),
        (90, Size(48, 64), ["blue", "black", "white", "green"]),
        (180, Size(64, 48), ["white", "blue", "green", "black"]),
        (270, Size(48, 64), ["green", "white", "black", "blue"]),
    ],
)
def test_a_picture_is_turned_clockwise_and_its_mask_with_it(
    shot: Callable[[Image.Image], Shot], rotate: int, size: Size, quarters_shown: list[str]
) -> None:
    made = shaper(rotate=rotate, masks=[TOP_LEFT]).shape(shot(quarters()))
    assert made is not None
    assert (made.size, shown(made)) == (size, quarters_shown)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_a_mask_lies_on_the_picture_as_the_source_means_it_to_be_seen(rotation: int) -> None:
    as_recorded = quarters().rotate(-rotation, expand=True)
    made = shaper(masks=[TOP_LEFT]).shape(frame(as_recorded, rotation=rotation))
    assert shown(made) == ["black", "green", "blue", "white"]
    turned = shaper(masks=[TOP_LEFT], rotate=90).shape(frame(as_recorded, rotation=rotation))
    assert shown(turned) == ["blue", "black", "white", "green"]


XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("said", ["exif", "exif behind a profile", "xmp"])
def test_a_photo_that_says_that_it_lies_on_its_side_is_masked_and_measured_upright(said: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter clockwise makes it upright
    saved: dict[str, Any] = {"xmp": XMP} if said == "xmp" else {"exif": exif}
    body = BytesIO()
    quarters().rotate(90, expand=True).save(body, "JPEG", **saved)
    jpeg = body.getvalue()
    if "behind" in said:  # as some write it
        jpeg = jpeg[:2] + b"\xff\xe2\x10\x00" + bytes(0x0FFE) + jpeg[2:]
    shot = Shot(Picture(jpeg, JPEG, Size(48, 64)))
    assert shaper(max_width_px=64).shape(shot) is shot.content
    for size in ({}, {"max_width_px": 32}, {"width_px": 32, "height_px": 24}):
        made = shaper(masks=[TOP_LEFT], **size).shape(shot)
        assert made is not None
        assert (made.size, shown(made)) == (Size(32, 24) if size else WHOLE, ["black", "green", "blue", "white"])


UNDONE_BY = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera that holds itself so stores the upright picture, by EXIF's orientation."""


@pytest.mark.parametrize("orientation", UNDONE_BY)
def test_nothing_shows_at_a_masks_edge_of_a_photo_that_is_turned_and_scaled_down(orientation: int) -> None:
    upright = Image.new("RGB", (1277, 719))  # no multiple of the blocks in which a JPEG is decoded
    upright.paste((255, 255, 255), (0, 0, 639, 360))
    turn = UNDONE_BY[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = BytesIO()
    stored.save(body, "JPEG", quality=95, subsampling=0, exif=exif)
    made = shaper(masks=[TOP_LEFT], max_width_px=160).shape(Shot(Picture(body.getvalue(), JPEG, Size(*stored.size))))
    assert made is not None
    assert made.size == Size(160, 90)
    assert max(Image.open(BytesIO(made.body)).convert("L").tobytes()) <= 2


@both
@pytest.mark.parametrize(
    ("camera", "size"),
    [
        ({"max_width_px": 320}, Size(320, 180)),
        ({"max_height_px": 240}, Size(427, 240)),
        ({"max_width_px": 320, "max_height_px": 90}, Size(160, 90)),
        ({"max_width_px": 90, "rotate": 90}, Size(90, 160)),
        ({"max_width_px": 4000}, Size(640, 360)),
        ({"width_px": 100, "height_px": 100}, Size(100, 100)),
        ({"width_px": 50, "height_px": 80, "rotate": 270}, Size(50, 80)),
        ({"max_width_px": 1}, Size(1, 1)),
    ],
)
def test_a_size_may_be_exact_or_a_most_that_keeps_the_shape(
    shot: Callable[[Image.Image], Shot], camera: dict[str, object], size: Size
) -> None:
    made = shaper(**camera).shape(shot(quarters(Size(640, 360))))
    assert made is not None
    assert made.size == size


@both
def test_a_mask_holds_at_every_size(shot: Callable[[Image.Image], Shot]) -> None:
    for camera in ({"max_width_px": 40}, {"max_width_px": 200}, {"width_px": 48, "height_px": 48}):
        made = shaper(masks=[TOP_LEFT], **camera).shape(shot(quarters(Size(320, 180))))
        assert shown(made) == ["black", "green", "blue", "white"]


@both
def test_nothing_comes_of_a_picture_on_which_a_mask_can_not_lie(shot: Callable[[Image.Image], Shot]) -> None:
    masks = [{"rectangle": [0, 0, 640, 360], "of_px": [1280, 720]}]
    one = shaper(masks=masks)
    with pytest.raises(ConfigurationError, match=r"masks\[0\].*nothing is sent"):
        one.shape(shot(quarters(Size(64, 48))))
    assert shown(one.shape(shot(quarters(Size(64, 36))))) == ["black", "green", "blue", "white"]


@both
def test_a_picture_that_hardly_differs_from_the_last_one_sent_is_left_out(shot: Callable[[Image.Image], Shot]) -> None:
    seconds = iter(range(100))
    one = shaper(lambda: next(seconds), min_change=0.01, max_silence_seconds=5)
    changed = quarters()
    changed.paste((0, 0, 0), (40, 30, 60, 45))
    scene = [quarters(), quarters(), changed, changed, quarters(), *[quarters()] * 10]
    sent = [one.shape(shot(image)) is not None for image in scene]
    assert sent == [True, False, True, False, True, *[False] * 4, True, *[False] * 4, True]


@both
def test_what_moves_under_a_mask_is_no_change(shot: Callable[[Image.Image], Shot]) -> None:
    changed = quarters()
    changed.paste((255, 255, 0), (0, 0, 32, 24))
    one = shaper(min_change=0.01, masks=[TOP_LEFT])
    assert one.shape(shot(quarters())) is not None
    assert one.shape(shot(changed)) is None


def test_a_jpeg_that_is_worth_sending_still_passes_untouched() -> None:
    shot = picture(quarters())
    assert shaper(min_change=0.01).shape(shot) is shot.content


def test_a_damaged_picture_is_told_of() -> None:
    whole = encode(quarters(), quality=80)
    for body in (whole.body[:20], whole.body[:-200], b""):
        with pytest.raises(InvalidImageError):
            shaper(masks=[TOP_LEFT]).shape(Shot(Picture(body, JPEG, whole.size)))


def test_a_frame_in_a_format_that_nothing_converts_is_told_of() -> None:
    with pytest.raises(InvalidImageError):
        shaper(masks=[TOP_LEFT]).shape(Shot(av.VideoFrame(64, 48, "xv30be")))


def test_nothing_of_an_original_is_left_beside_the_masked_picture() -> None:
    body = BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "exif of the original"
    quarters().save(body, "JPEG", exif=exif, comment=b"comment of the original", xmp=b"xmp of the original")
    for words in (b"exif of", b"comment of", b"xmp of"):
        assert words in body.getvalue()
    made = shaper(masks=[TOP_LEFT]).shape(Shot(Picture(body.getvalue(), JPEG, WHOLE)))
    assert made is not None
    assert b"of the original" not in made.body
