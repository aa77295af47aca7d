import av
import pytest
from PIL import Image, ImageChops

from ingest.pictures import image_of
from ingest.turning import Turner

SIZE = (61, 46)


def frame(kind: str, colour_range: int) -> av.VideoFrame:
    image = Image.new("RGB", SIZE, (250, 250, 250))
    image.paste((200, 30, 30), (0, 0, 31, 23))
    image.paste((30, 30, 200), (31, 0, 61, 23))
    made: av.VideoFrame = av.VideoFrame.from_image(image).reformat(format=kind)  # type: ignore[no-untyped-call]
    made.color_range = colour_range
    return made


def difference(one: Image.Image, other: Image.Image) -> int:
    """The greatest, in levels of 255, between parts large enough that colours' coarser planes don't matter."""
    parts = ImageChops.difference(one, other).convert("RGB").convert("L").resize((6, 6), Image.Resampling.BOX)
    return int(max(parts.tobytes()))


@pytest.mark.parametrize("kind", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "yuyv422", "rgb24", "gray"])
def test_frames_of_any_kind_and_range_turn_as_images_do(kind: str) -> None:
    turner = Turner()
    for colour_range in (0, 1, 2):  # unspecified, limited, full
        one = frame(kind, colour_range)
        image = image_of(one, None).copy()
        for degrees in (90, 180, 270, -90, 450):
            for _ in range(2):  # the second time with what was made
                turned = image_of(turner.turned(one, degrees), None)
                assert difference(turned, image.rotate(degrees, expand=True)) < 12
        assert image_of(one, None).tobytes() == image.tobytes()


def test_a_frame_that_is_upright_passes() -> None:
    one = frame("yuv420p", 1)
    assert Turner().turned(one, 0) is one
    assert Turner().turned(one, -360) is one


def test_another_size_or_kind_may_follow() -> None:
    turner = Turner()
    for width, height, kind in ((64, 48, "yuv420p"), (32, 48, "yuv420p"), (32, 48, "nv12"), (64, 48, "yuv420p")):
        turned = turner.turned(av.VideoFrame(width, height, kind), 90)
        assert (turned.width, turned.height) == (height, width)
