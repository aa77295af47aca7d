"""Small image classifiers."""

from typing import Any

from transformers import (
    BeitConfig,
    BeitForImageClassification,
    ConvNextConfig,
    ConvNextForImageClassification,
    EfficientNetConfig,
    EfficientNetForImageClassification,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    MobileViTConfig,
    MobileViTForImageClassification,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from tests.model_server.tiny.base import Kind


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


def _multi_label(**options: Any) -> PreTrainedModel:
    return _vit(problem_type="multi_label_classification", **options)


def _regression(**options: Any) -> PreTrainedModel:
    return _vit(problem_type="regression", **options)


def _resnet(**options: Any) -> PreTrainedModel:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 32], depths=[1, 1], **options)
    return ResNetForImageClassification(config)


def _swin(**options: Any) -> PreTrainedModel:
    config = SwinConfig(
        image_size=32, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4, **options
    )
    return SwinForImageClassification(config)


def _efficientnet(**options: Any) -> PreTrainedModel:
    config = EfficientNetConfig(
        image_size=32, width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, in_channels=[32, 16],
        out_channels=[16, 24], kernel_sizes=[3, 3], strides=[1, 2], expand_ratios=[1, 2], num_block_repeats=[1, 1],
        depthwise_padding=[], **options,
    )  # fmt: skip
    return EfficientNetForImageClassification(config)


def _mobilevit(**options: Any) -> PreTrainedModel:
    config = MobileViTConfig(
        image_size=64, hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 8, 16, 24, 32, 40, 48], num_attention_heads=2,
        **options,
    )  # fmt: skip
    return MobileViTForImageClassification(config)


def _beit(**options: Any) -> PreTrainedModel:
    config = BeitConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8,
        use_relative_position_bias=True, **options,
    )  # fmt: skip
    return BeitForImageClassification(config)


_VIT_PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 32, "width": 32},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
_CONVNEXT_PROCESSOR = {
    "image_processor_type": "ConvNextImageProcessor",
    "size": {"shortest_edge": 64},
    "crop_pct": 0.875,
}

KINDS = {
    "vit": Kind(_vit, _VIT_PROCESSOR),
    "multi-label": Kind(_multi_label, _VIT_PROCESSOR),
    "regression": Kind(_regression, _VIT_PROCESSOR),
    "convnext": Kind(_convnext, _CONVNEXT_PROCESSOR),
    "resnet": Kind(_resnet, _CONVNEXT_PROCESSOR),
    "swin": Kind(_swin, _VIT_PROCESSOR),
    "efficientnet": Kind(
        _efficientnet,
        {
            "image_processor_type": "EfficientNetImageProcessor",
            "size": {"height": 32, "width": 32},
            "resample": 0,
            "include_top": True,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.47853944, 0.4732864, 0.47434163],
        },
    ),
    "mobilevit": Kind(
        _mobilevit,
        {
            "image_processor_type": "MobileViTImageProcessor",
            "size": {"shortest_edge": 72},
            "crop_size": {"height": 64, "width": 64},
        },
    ),
    "beit": Kind(
        _beit,
        {
            "image_processor_type": "BeitImageProcessor",
            "size": {"height": 36, "width": 36},
            "crop_size": {"height": 32, "width": 32},
            "do_center_crop": True,
        },
    ),
    "mobilenet": Kind(
        _mobilenet,
        {
            "image_processor_type": "MobileNetV2ImageProcessor",
            "size": {"shortest_edge": 72},
            "crop_size": {"height": 64, "width": 64},
        },
    ),
}
