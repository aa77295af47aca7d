import random

import pytest
from pydantic import ValidationError

from ingest.masks import Mask


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ({}, "either rectangle or polygon"),
        ({"rectangle": [0, 0, 1, 1], "polygon": [[0, 0], [1, 0], [1, 1]]}, "either rectangle or polygon"),
        ({"rectangle": [0, 0, 1]}, "Field required"),
        ({"rectangle": [0.5, 0, 0.5, 1]}, "left under right"),
        ({"rectangle": [0, 0.6, 1, 0.5]}, "top under bottom"),
        ({"rectangle": [-0.1, 0, 1, 1]}, "greater than or equal to 0"),
        ({"rectangle": [0, 0, float("nan"), 1]}, "finite"),
        ({"rectangle": [0, 0, 320, 120]}, "add of_px"),
        ({"rectangle": [0, 0, 1300, 120], "of_px": [1280, 720]}, "outside the picture of 1280 x 720"),
        ({"rectangle": [0, 0, 1, 1], "of_px": [0, 720]}, "greater than or equal to 1"),
        ({"polygon": [[0, 0], [1, 1]]}, "at least 3"),
        ({"polygon": [[0, 0], [0.5, 0.5], [1, 1]]}, "on one line"),
        ({"polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}, "make two masks"),
        ({"polygon": [[0.5, 0], [0.8, 1], [0, 0.4], [1, 0.4], [0.2, 1]]}, "make two masks"),
    ],
)
def test_what_covers_nothing_clear_is_no_mask(mask: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Mask.model_validate(mask)


def test_pixels_become_shares_of_the_picture_on_which_they_were_counted() -> None:
    mask = Mask.model_validate({"polygon": [[0, 0], [640, 0], [1280, 720]], "of_px": [1280, 720]})
    assert mask.corners() == [(0, 0), (0.5, 0), (1, 1)]


def test_polygons_that_are_not_convex_are_sound() -> None:
    star = [[0.5, 0.0], [0.6, 0.4], [1.0, 0.5], [0.6, 0.6], [0.5, 1.0], [0.4, 0.6], [0.0, 0.5], [0.4, 0.4]]
    for turn in range(len(star)):
        Mask.model_validate({"polygon": star[turn:] + star[:turn]})
    chance = random.Random(5)  # noqa: S311 - no secret
    for _ in range(50):  # neighbours touch and may never count as crossing
        Mask.model_validate({"polygon": [[chance.random(), chance.random()] for _ in range(3)]})
