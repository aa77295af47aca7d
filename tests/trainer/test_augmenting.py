import random
from pathlib import Path

from PIL import Image, ImageDraw

from trainer.augmenting import varied
from trainer.reading import Example


def test_a_varied_picture_is_as_large_and_its_boxes_are_where_its_objects_are() -> None:
    random.seed(4)
    image = Image.new("RGB", (200, 120), "black")
    ImageDraw.Draw(image).rectangle((60, 40, 119, 79), fill="white")
    example = Example(Path("x.jpg"), boxes=((60.0, 40.0, 60.0, 40.0), (0.0, 0.0, 4.0, 4.0)), classes=(3, 1))
    kept_in_the_corner = 0
    for _ in range(20):
        seen, changed = varied(image, example)
        assert seen.size == image.size
        left, top, width, height = changed.boxes[0]
        found = seen.convert("L").point(lambda value: 255 * (value > 90)).getbbox()
        assert found is not None
        assert all(
            abs(is_at - should_be) <= 3
            for is_at, should_be in zip(found, (left, top, left + width, top + height), strict=True)
        )
        kept_in_the_corner += changed.classes == (3, 1)
    assert 0 < kept_in_the_corner < 20


def test_the_same_chance_makes_the_same_picture() -> None:
    image = Image.radial_gradient("L").convert("RGB")
    made = []
    for _ in range(2):
        random.seed(1)
        made.append(varied(image, Example(Path("x.jpg"), label=0))[0].tobytes())
    assert made[0] == made[1]
