from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from model_server.tasks import png

SHAPES = [(1, 1), (1, 9), (7, 8), (31, 65), (300, 451)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_mask_has_one_bit_a_pixel(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(1).random(shape) > 0.5
    image = Image.open(BytesIO(png.of_mask(mask)))
    assert image.mode == "1"
    np.testing.assert_array_equal(np.asarray(image), mask)


@pytest.mark.parametrize("shape", SHAPES)
def test_values_have_16_bits_a_pixel(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(1).integers(0, 1 << 16, shape, dtype=np.uint16)
    image = Image.open(BytesIO(png.of_values(values)))
    assert image.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(image), values)
    image = Image.open(BytesIO(png.of_values(values)))
    image.verify()
