"""Object detectors. Imports torch."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForObjectDetection
from transformers.models.auto.modeling_auto import MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES

from framemesh.errors import ConfigurationError
from model_server.networks.base import Network, architectures, labels_of, load_model
from model_server.tasks.detection import Detection
from model_server.trust import Trust

ARCHITECTURES = architectures(MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES)

# By config.model_type, how the image processor of its published checkpoints makes objects of the outputs.
_SOFTMAX = {"detr", "table-transformer", "yolos"}
_SIGMOID = {"d_fine", "deimv2", "rf_detr", "rt_detr", "rt_detr_v2"}
_SIGMOID_OF_100 = {"conditional_detr", "dab-detr", "deformable_detr", "lw_detr"}


class _LogitsAndBoxes(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.model(pixel_values=pixel_values)
        return found.logits, found.pred_boxes


def load(folder: Path, config: Any, trust: Trust) -> Network:
    """The detector in the folder.

    Raises:
        ConfigurationError: What it gives isn't known to be one object a query, or its weights can't be loaded.
    """
    task = detection(config)
    model = load_model(AutoModelForObjectDetection, folder, trust)
    return Network(task, _LogitsAndBoxes(model), ("logits", "boxes"))


def detection(config: Any) -> Detection:
    """How objects are made of the outputs, as transformers' own pipeline makes them.

    RT-DETR's `use_focal_loss` doesn't matter: its training knows the sigmoid alone, and so does the pipeline.

    Raises:
        ConfigurationError: There is no rule for such a model.
    """
    labels = labels_of(config)
    if config.model_type in _SOFTMAX:
        return Detection(labels, "softmax")
    if config.model_type in _SIGMOID:
        return Detection(labels, "sigmoid")
    if config.model_type in _SIGMOID_OF_100:
        return Detection(labels, "sigmoid", limit=100)
    raise ConfigurationError(
        f"detectors of type {config.model_type} are not served; served are "
        f"{', '.join(sorted(_SOFTMAX | _SIGMOID | _SIGMOID_OF_100))}",
        model_type=config.model_type,
    )
