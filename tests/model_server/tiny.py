"""Small models of real architectures with made-up weights, as ordinary Hugging Face folders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
)

LABELS = {index: f"kind {index}" for index in range(10)}


def _vit(**options: Any) -> PreTrainedModel:
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8,
        **options,
    )  # fmt: skip
    return ViTForImageClassification(config)


def _convnext(**options: Any) -> PreTrainedModel:
    return ConvNextForImageClassification(ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], **options))


def _mobilenet(**options: Any) -> PreTrainedModel:
    return MobileNetV2ForImageClassification(MobileNetV2Config(depth_multiplier=0.25, image_size=64, **options))


KINDS: dict[str, tuple[Callable[..., PreTrainedModel], dict[str, Any]]] = {
    "vit": (
        _vit,
        {
            "image_processor_type": "ViTImageProcessor",
            "size": {"height": 32, "width": 32},
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
    ),
    "convnext": (
        _convnext,
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 64}, "crop_pct": 0.875},
    ),
    "mobilenet": (
        _mobilenet,
        {
            "image_processor_type": "MobileNetV2ImageProcessor",
            "size": {"shortest_edge": 72},
            "crop_size": {"height": 64, "width": 64},
        },
    ),
}


def make(kind: str, folder: Path, **options: Any) -> Path:
    """Save a model of this kind into the folder; the options go to its configuration."""
    build, processor = KINDS[kind]
    torch.manual_seed(7)
    names = options.pop("id2label", LABELS)
    model = build(id2label=names, label2id={name: index for index, name in names.items()}, **options)
    for weights in model.parameters():
        if weights.ndim > 1:  # as made, they let hardly anything through, and the classes' order would be chance
            torch.nn.init.kaiming_normal_(weights)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder
