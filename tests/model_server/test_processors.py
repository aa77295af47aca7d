from typing import Any

import pytest

from framemesh.errors import ConfigurationError
from model_server.preprocessing import ShortestEdge, Size
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


def test_an_exact_size_is_both_what_is_resized_to_and_the_input() -> None:
    preprocessing = read(VIT)
    assert preprocessing.resize == preprocessing.size == Size(192, 224)
    assert preprocessing.resample == 3
    assert preprocessing.scale == pytest.approx((2 / 255,) * 3)
    assert preprocessing.bias == pytest.approx((-1.0,) * 3)


def test_a_crop_decides_the_input() -> None:
    preprocessing = read(
        {**VIT, "size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 200}}
    )
    assert preprocessing.resize == ShortestEdge(256)
    assert preprocessing.size == Size(200, 224)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"do_resize": False}, "resizes to nothing"),
        ({"size": {"shortest_edge": 256}}, "inputs of varying size"),
        ({"size": {"shortest_edge": 256, "longest_edge": 512}}, "longest_edge"),
        ({"size": None}, "resizes to {}"),
    ],
)
def test_what_is_not_reproduced_is_refused_by_the_processors_name(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match="ViTImageProcessor.*" + why):
        read({**VIT, **change})
