"""Pictures as a fixed camera might have taken them at another time: other light and focus, a mount that moved.

Nothing is mirrored or turned: a fixed camera never sees that, and an arrow or a text would mean something else. What is
left to chance comes from `random`, whose state is part of every checkpoint.
"""

import random

from PIL import Image, ImageEnhance, ImageFilter

from trainer.reading import Example

_LIGHT = 0.3
"""How far brightness, contrast and colour may go from 1."""
_LEAST_PART = 0.85
"""Of each side, that a moved mount leaves in the picture."""
_BLURRED = 0.2
_LEAST_SEEN = 0.3
"""Of an object's area: one of which less is left is taken for out of the picture."""

Box = tuple[float, float, float, float]


def varied(image: Image.Image, example: Example) -> tuple[Image.Image, Example]:
    """Another such picture, as large, with its objects where they then are."""
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(random.uniform(1 - _LIGHT, 1 + _LIGHT))  # noqa: S311 - nothing secret
    if random.random() < _BLURRED:  # noqa: S311
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.5, 1.5)))  # noqa: S311
    return _moved(image, example)


def _moved(image: Image.Image, example: Example) -> tuple[Image.Image, Example]:
    part = random.uniform(_LEAST_PART, 1.0)  # noqa: S311
    width, height = image.width * part, image.height * part
    left, top = random.uniform(0, image.width - width), random.uniform(0, image.height - height)  # noqa: S311
    window = (left, top, left + width, top + height)
    moved = image.resize(image.size, Image.Resampling.BILINEAR, box=window)
    kept = [
        (cut, number)
        for box, number in zip(example.boxes, example.classes, strict=True)
        if (cut := _cut(box, window)) is not None
    ]
    return moved, Example(
        example.path,
        example.label,
        tuple((x / part, y / part, w / part, h / part) for (x, y, w, h), _ in kept),
        tuple(number for _, number in kept),
    )


def _cut(box: Box, window: Box) -> Box | None:
    """What is left of a box in a window, from the window's corner on; none where that is too little."""
    x, y, width, height = box
    left, top = max(x, window[0]), max(y, window[1])
    right, bottom = min(x + width, window[2]), min(y + height, window[3])
    if right <= left or bottom <= top or (right - left) * (bottom - top) < _LEAST_SEEN * width * height:
        return None
    return left - window[0], top - window[1], right - left, bottom - top
