from itertools import pairwise

import pytest

from ingest.motion import NARROWEST, largest_window, window
from ingest.pictures import Size

WIDE = Size(1280, 720)
PHASES = [number / 480 for number in range(481)]
PICTURES = [Size(451, 300), Size(300, 451), Size(2000, 500), Size(16, 9), WIDE]


@pytest.mark.parametrize("picture", PICTURES)
def test_the_window_stays_in_the_picture_and_keeps_its_shape(picture: Size) -> None:
    for phase in PHASES:
        left, top, right, bottom = window(phase, picture, WIDE)
        assert 0 <= left < right <= picture.width_px
        assert 0 <= top < bottom <= picture.height_px
        assert (right - left) / (bottom - top) == pytest.approx(1280 / 720)


@pytest.mark.parametrize("picture", PICTURES)
def test_the_window_moves_little_from_one_frame_to_the_next_and_comes_back(picture: Size) -> None:
    boxes = [window(phase, picture, WIDE) for phase in PHASES]
    for earlier, later in pairwise(boxes):
        assert max(abs(a - b) for a, b in zip(earlier, later, strict=True)) < 0.01 * picture.width_px
    assert boxes[-1] == pytest.approx(boxes[0], abs=1e-6)


def test_the_loop_shows_the_largest_window_and_never_cuts_much_of_it() -> None:
    picture = Size(451, 300)
    left, _, right, _ = largest_window(picture, WIDE)
    widths = [box[2] - box[0] for box in (window(phase, picture, WIDE) for phase in PHASES)]
    assert max(widths) == pytest.approx(right - left)
    assert min(widths) == pytest.approx(NARROWEST * (right - left))


def test_the_largest_window_touches_two_sides_and_lies_in_the_middle() -> None:
    assert largest_window(Size(400, 400), Size(2, 1)) == (0, 100, 400, 300)
    assert largest_window(Size(800, 100), Size(2, 1)) == (300, 0, 500, 100)
