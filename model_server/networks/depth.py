"""Depth estimators. Imports torch."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForDepthEstimation
from transformers.models.auto.modeling_auto import MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES

from framemesh.errors import ConfigurationError
from model_server.networks.base import Network, architectures, load_model
from model_server.tasks.depth import Depth
from model_server.trust import Trust

ARCHITECTURES = architectures(MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES)


class _Depths(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.model(pixel_values=pixel_values).predicted_depth,)


class _AnySizeHead(torch.nn.Module):
    """Depth Anything's head without its `int(...)`, by which the exporter fixes the size of what it upsamples to."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head

    def forward(self, hidden_states: list[torch.Tensor], patch_height: int, patch_width: int) -> torch.Tensor:
        head = self.head
        size = (patch_height * head.patch_size, patch_width * head.patch_size)
        depth = head.conv1(hidden_states[head.head_in_index])
        depth = torch.nn.functional.interpolate(depth, size, mode="bilinear", align_corners=True)
        depth = head.conv3(head.activation1(head.conv2(depth)))
        return torch.squeeze(head.activation2(depth) * head.max_depth, dim=1)


def load(folder: Path, config: Any, trust: Trust) -> Network:
    """The depth estimator in the folder.

    Raises:
        ConfigurationError: Its weights can't be loaded, or it can't be served.
    """
    if config.model_type == "zoedepth":
        raise ConfigurationError(
            "zoedepth models are not served: their processor needs torch, and torchvision afterwards; DPT, GLPN and "
            "Depth Anything models do the same",
            model_type=config.model_type,
        )
    model = load_model(AutoModelForDepthEstimation, folder, trust)
    if config.model_type == "depth_anything":
        model.head = _AnySizeHead(model.head)
    return Network(Depth(), _Depths(model), ("predicted_depth",))
