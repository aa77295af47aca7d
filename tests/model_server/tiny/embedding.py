"""Small feature extractors."""

from typing import Any

from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedModel,
    ResNetConfig,
    ResNetModel,
    SegformerConfig,
    SegformerModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTModel,
)

from tests.model_server.tiny.base import Kind

_SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip


def _vit(**options: Any) -> PreTrainedModel:
    return ViTModel(ViTConfig(**_SIZES, **options))


def _dinov2(**options: Any) -> PreTrainedModel:
    return Dinov2Model(Dinov2Config(**_SIZES, **options))


def _clip_vision(**options: Any) -> PreTrainedModel:
    return CLIPVisionModel(CLIPVisionConfig(**_SIZES, **options))


def _siglip_vision(**options: Any) -> PreTrainedModel:
    return SiglipVisionModel(SiglipVisionConfig(**_SIZES, **options))


def _convnext(**options: Any) -> PreTrainedModel:
    return ConvNextModel(ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], **options))


def _resnet(**options: Any) -> PreTrainedModel:
    return ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], **options))


def _segformer(**options: Any) -> PreTrainedModel:
    return SegformerModel(SegformerConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], **options))


_PROCESSOR: dict[str, Any] = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}

KINDS = {
    f"{name}-features": Kind(build, _PROCESSOR, labels=False)
    for name, build in {
        "vit": _vit,
        "dinov2": _dinov2,
        "clip-vision": _clip_vision,
        "siglip-vision": _siglip_vision,
        "convnext": _convnext,
        "resnet": _resnet,
        "segformer": _segformer,
    }.items()
}
