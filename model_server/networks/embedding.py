"""Feature extractors. Imports torch."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_MAPPING_NAMES

from framemesh.errors import ConfigurationError
from model_server.networks.base import Network, architectures, load_model
from model_server.tasks.embedding import Embedding
from model_server.trust import Trust

ARCHITECTURES = architectures(MODEL_FOR_IMAGE_MAPPING_NAMES) | {"CLIPVisionModel"}


class _Pooled(torch.nn.Module):
    """One vector an image: the model's own, or the mean over its tokens or pixels where it makes none."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.features = getattr(model, "get_image_features", model)  # of CLIP and its like, beside their texts

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.features(pixel_values=pixel_values)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None:
            return (pooled.flatten(1),)
        hidden = output.last_hidden_state
        return (hidden.mean(1) if hidden.ndim == 3 else hidden.mean((2, 3)),)


def load(folder: Path, config: Any, trust: Trust) -> Network:
    """The feature extractor in the folder.

    Raises:
        ConfigurationError: Its weights can't be loaded, or its features aren't the same twice.
    """
    if config.model_type == "vit_mae":
        raise ConfigurationError("vit_mae hides other parts of an image every time: choose a model that sees it whole")
    # Classifiers were trained without the layer that pools, and transformers would make one up.
    model = load_model(AutoModel, folder, trust, droppable="pooler")
    return Network(Embedding(), _Pooled(model), ("embedding",))
