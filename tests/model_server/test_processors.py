from typing import Any

import pytest

from model_server.geometry import Size
from model_server.preprocessing import Preprocessing, ShortestEdge
from model_server.processors import read

VIT: dict[str, Any] = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 224, "width": 192},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def described(**changes: Any) -> Preprocessing:
    preprocessing = read({**VIT, **changes})
    assert preprocessing is not None
    return preprocessing


def test_an_exact_size_is_both_what_is_resized_to_and_the_input() -> None:
    preprocessing = described()
    assert preprocessing.resize == preprocessing.fixed_input == Size(192, 224)
    assert preprocessing.resample == 3
    assert preprocessing.scale == pytest.approx((2 / 255,) * 3)
    assert preprocessing.bias == pytest.approx((-1.0,) * 3)


def test_a_crop_decides_the_input() -> None:
    preprocessing = described(size={"shortest_edge": 256}, do_center_crop=True, crop_size={"height": 224, "width": 200})
    assert preprocessing.resize == ShortestEdge(256)
    assert preprocessing.fixed_input == Size(200, 224)


def test_without_a_crop_the_input_of_a_shortest_edge_is_as_large_as_the_image_makes_it() -> None:
    preprocessing = described(size={"shortest_edge": 256, "longest_edge": 512})
    assert preprocessing.fixed_input is None
    resized = preprocessing.resized(Size(1000, 500))
    assert resized == preprocessing.input(resized) == Size(512, 256)


@pytest.mark.parametrize("change", [{"do_resize": False}, {"size": None}, {"size": {"max_height": 5, "max_width": 5}}])
def test_what_is_not_reproduced_is_left_to_transformers(change: dict[str, Any]) -> None:
    assert read({**VIT, **change}) is None
