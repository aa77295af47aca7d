import numpy as np
import pytest
import torch

from model_server.geometry import Size
from model_server.tasks.resizing import bicubic, bilinear, nearest, winners

SIZES = [
    (Size(16, 12), Size(97, 61)),
    (Size(97, 61), Size(16, 12)),
    (Size(40, 30), Size(31, 77)),
    (Size(1, 1), Size(5, 3)),
    (Size(7, 5), Size(1, 1)),
    (Size(23, 19), Size(23, 19)),
]


def maps(size: Size, *, count: int = 3) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, size.height, size.width)).astype(np.float32)


def interpolated(values: np.ndarray, size: Size, mode: str) -> np.ndarray:
    found = torch.nn.functional.interpolate(torch.from_numpy(values)[None], size=(size.height, size.width), mode=mode)
    return found[0].numpy()


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_maps_are_resized_as_torch_does(source: Size, target: Size) -> None:
    values = maps(source)
    np.testing.assert_allclose(bilinear(values, target), interpolated(values, target, "bilinear"), atol=2e-5)
    np.testing.assert_allclose(bicubic(values, target), interpolated(values, target, "bicubic"), atol=2e-5)
    inside = values > 0
    np.testing.assert_array_equal(
        nearest(inside, target), interpolated(inside.astype(np.float32), target, "nearest") == 1
    )


def test_the_nearest_place_is_torchs_for_every_pair_of_lengths() -> None:
    for source in range(1, 70):
        values = maps(Size(source, 1), count=1)
        for target in range(1, 150):
            size = Size(target, 1)
            expected = interpolated(values, size, "nearest") > 0
            np.testing.assert_array_equal(nearest(values > 0, size), expected)


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_winners_are_those_of_the_resized_scores(source: Size, target: Size) -> None:
    values = maps(source, count=20)
    np.testing.assert_array_equal(winners(values, target), interpolated(values, target, "bilinear").argmax(axis=0))


def test_winners_of_smooth_scores_are_found_across_blocks() -> None:
    values = bilinear(maps(Size(6, 5), count=50), Size(120, 90))
    size = Size(641, 479)
    expected = interpolated(values, size, "bilinear").argmax(axis=0)
    assert len(np.unique(expected)) > 10
    assert (winners(values, size) != expected).mean() < 1e-4  # where two are equal but for rounding


def test_a_score_that_is_no_number_wins_as_in_torch() -> None:
    values = np.zeros((3, 4, 4), np.float32)
    values[2] = np.nan
    np.testing.assert_array_equal(winners(values, Size(8, 8)), np.full((8, 8), 2))
