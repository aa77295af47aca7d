"""Models of two towers, one for images and one for texts, such as CLIP and SigLIP. Imports torch."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForZeroShotImageClassification
from transformers.models.auto.modeling_auto import MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES

from framemesh.errors import ConfigurationError
from model_server.networks.base import Network, load_model
from model_server.tasks.zero_shot_classification import ZeroShotClassification
from model_server.trust import Trust

ARCHITECTURES = frozenset(
    {"AlignModel", "AltCLIPModel", "BlipModel", "CLIPModel", "ChineseCLIPModel", "MetaClip2Model", "SiglipModel"}
)
"""Those whose towers stand apart and want pixels alone. SigLIP 2 in its fixed sizes is a `SiglipModel` too."""

_SIGLIP_LENGTH = 64  # SigLIP was trained on texts padded to this, and without a mask


class _Images(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (_unit(self.model.get_image_features(pixel_values=pixel_values).pooler_output),)


class _Texts(torch.nn.Module):
    def __init__(self, model: Any, *, masked: bool) -> None:
        super().__init__()
        self.model = model
        self.masked = masked

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = {"attention_mask": attention_mask} if self.masked else {}
        features = self.model.get_text_features(input_ids=input_ids, **mask).pooler_output
        # ALIGN projects every token, and takes the first.
        return _unit(features[:, 0] if features.ndim == 3 else features)


def load(folder: Path, config: Any, trust: Trust) -> Network:
    """The model in the folder.

    Raises:
        ConfigurationError: It has another form, or its weights can't be loaded.
    """
    name = MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES.get(config.model_type)
    if name not in ARCHITECTURES:
        raise ConfigurationError(
            f"zero-shot image classification is served with {', '.join(sorted(ARCHITECTURES))}; this is a "
            f"{name or config.model_type}"
        )
    model = load_model(AutoModelForZeroShotImageClassification, folder, trust)
    siglip = name == "SiglipModel"
    task = ZeroShotClassification(
        scale=1 / model.temperature.item() if name == "AlignModel" else model.logit_scale.exp().item(),
        bias=model.logit_bias.item() if siglip else 0.0,
        activation="sigmoid" if siglip else "softmax",
        text_length=_SIGLIP_LENGTH if siglip else 0,
    )
    return Network(task, _Images(model), ("image_embeds",), texts=_Texts(model, masked=not siglip))


def _unit(features: torch.Tensor) -> torch.Tensor:
    norm: torch.Tensor = features.norm(p=2, dim=-1, keepdim=True)
    return features / norm
