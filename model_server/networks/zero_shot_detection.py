"""Zero-shot object detectors. Imports torch."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForZeroShotObjectDetection
from transformers.models.auto.modeling_auto import MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES

from framemesh.errors import ConfigurationError
from model_server.networks.base import Network, architectures, load_model
from model_server.tasks.zero_shot_detection import ZeroShotDetection
from model_server.trust import Trust

ARCHITECTURES = architectures(MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES)

_PADDED = {"owlvit": False, "owlv2": True}
"""What is served, by config.model_type: whether its image processor pads frames to squares."""

_TINY = 1e-6  # keeps OWL's own class head from dividing by zero


class _Patches(torch.nn.Module):
    """The first half of the class head of `OwlViTForObjectDetection`: all of it that needs no words."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features, _ = self.model.image_embedder(pixel_values=pixel_values)
        patches = features.flatten(1, 2)
        head = self.model.class_head
        factors = head.elu(head.logit_scale(patches)) + 1
        boxes = self.model.box_predictor(patches, features)
        return _normalized(head.dense0(patches)), head.logit_shift(patches), factors, boxes


class _Labels(torch.nn.Module):
    """Labels as points to compare patches with."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = getattr(model, model.base_model_prefix)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        features = self.model.get_text_features(input_ids=input_ids, attention_mask=attention_mask).pooler_output
        return _normalized(torch.nn.functional.normalize(features, dim=-1))


def load(folder: Path, config: Any, trust: Trust) -> Network:
    """The detector in the folder.

    Raises:
        ConfigurationError: It reads image and words together, or its weights can't be loaded.
    """
    if config.model_type not in _PADDED:
        raise ConfigurationError(
            f"zero-shot detectors of type {config.model_type} are not served: only those that read the labels apart "
            f"from the image are, {' and '.join(_PADDED)}",
            model_type=config.model_type,
        )
    model = load_model(AutoModelForZeroShotObjectDetection, folder, trust)
    task = ZeroShotDetection(config.text_config.max_position_embeddings, _PADDED[config.model_type])
    return Network(task, _Patches(model), ("embeddings", "shifts", "factors", "boxes"), texts=_Labels(model))


def _normalized(vectors: torch.Tensor) -> torch.Tensor:
    lengths: torch.Tensor = torch.linalg.norm(vectors, dim=-1, keepdim=True)
    return vectors / (lengths + _TINY)
