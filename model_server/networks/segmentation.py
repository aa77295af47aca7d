"""Segmentation models. Imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSemanticSegmentation, AutoModelForUniversalSegmentation
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
    MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES,
)

from framemesh.errors import ConfigurationError
from model_server.geometry import Size
from model_server.networks.base import Network, architectures, labels_of, load_model
from model_server.tasks.segmentation import Queries, Segmentation
from model_server.trust import Trust

ARCHITECTURES = architectures(
    MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES, MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES
)


@dataclass(frozen=True, slots=True)
class _ByQueries:
    """How a kind of model by queries is read, as its processor's `post_process_panoptic_segmentation` does."""

    queries: Queries
    class_logits: str = "class_queries_logits"
    mask_logits: str = "masks_queries_logits"


_BY_QUERIES: Mapping[str, _ByQueries] = {
    "detr": _ByQueries(Queries(None, overlapping=False), "logits", "pred_masks"),
    "mask2former": _ByQueries(Queries(Size(384, 384), overlapping=True)),
    "maskformer": _ByQueries(Queries(None, overlapping=True)),
}
_REFUSED = {
    "eomt": "its processor needs torch at every start, and cuts semantic inputs into several",
    "eomt_dinov3": "its processor needs torch at every start, and cuts semantic inputs into several",
    "oneformer": "it wants its task in words with every image",
    "videomt": "it wants several frames at once",
}


class _Outputs(torch.nn.Module):
    """The model's outputs of these names."""

    def __init__(self, model: torch.nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self._names = names

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.model(pixel_values=pixel_values)
        return tuple(outputs[name] for name in self._names)


def load(folder: Path, config: Any, trust: Trust) -> Network:
    """The segmentation model in the folder.

    Raises:
        ConfigurationError: Its weights can't be loaded, or it can't be served.
    """
    kind = config.model_type
    if reason := _REFUSED.get(kind):
        raise ConfigurationError(
            f"{kind} models are not served: {reason}; Mask2Former, MaskFormer and DETR models do the same",
            model_type=kind,
        )
    labels = labels_of(config)
    if form := _BY_QUERIES.get(kind):
        # With the other implementations torch can't export Swin for a batch of any size.
        model = load_model(AutoModelForUniversalSegmentation, folder, trust, attn_implementation="eager")
        module = _Outputs(model, (form.class_logits, form.mask_logits))
        return Network(Segmentation(labels, form.queries), module, ("class_logits", "mask_logits"))
    model = load_model(AutoModelForSemanticSegmentation, folder, trust)
    return Network(Segmentation(labels, None), _Outputs(model, ("logits",)), ("logits",))
