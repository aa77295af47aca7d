"""Photos made by formula, to compare preprocessing and runtimes on."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

_SIZES = ((640, 480), (333, 500), (1000, 301), (97, 61), (512, 512))
"""Wide, tall, very wide, smaller than any input, and square."""


def photos() -> Iterator[Image.Image]:
    """Yield RGB photos with gradients, edges and grain, the same ones every time."""
    random = np.random.default_rng(0)
    for width, height in _SIZES:
        y, x = np.mgrid[0:height, 0:width]
        waves = [np.sin(x / (9 + 5 * channel)) * np.cos(y / (13 - 3 * channel)) for channel in range(3)]
        disc = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 3) ** 2
        picture = 128 + 70 * np.stack(waves, axis=-1) + 50 * disc[..., None]
        grain = random.normal(0, 12, picture.shape)
        yield Image.fromarray(np.clip(picture + grain, 0, 255).astype(np.uint8))
