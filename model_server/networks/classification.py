"""Image classifiers. Imports torch."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageClassification
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from model_server.networks.base import Network, architectures, labels_of, load_model
from model_server.tasks.classification import Activation, Classification
from model_server.trust import Trust

ARCHITECTURES = architectures(MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)


class _Logits(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.model(pixel_values=pixel_values).logits,)


def load(folder: Path, config: Any, trust: Trust) -> Network:
    """The classifier in the folder.

    Raises:
        ConfigurationError: Its weights can't be loaded.
    """
    model = load_model(AutoModelForImageClassification, folder, trust)
    return Network(Classification(labels_of(config), activation(config)), _Logits(model), ("logits",))


def activation(config: Any) -> Activation:
    """What makes scores of the outputs, as transformers' own pipeline chooses."""
    if config.problem_type == "regression":
        return "none"
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"
