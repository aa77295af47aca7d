"""Small depth estimators."""

from typing import Any

from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    GLPNConfig,
    GLPNForDepthEstimation,
    PreTrainedModel,
)

from tests.model_server.tiny.base import Kind


def _dpt(**options: Any) -> PreTrainedModel:
    config = DPTConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=64, patch_size=16,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[16, 16, 16, 16], fusion_hidden_size=16, **options,
    )  # fmt: skip
    return DPTForDepthEstimation(config)


def _depth_anything(**options: Any) -> PreTrainedModel:
    backbone = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=1, image_size=70, patch_size=14,
        out_indices=[1, 2], apply_layernorm=True, reshape_hidden_states=False,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=32, reassemble_factors=[4, 0.5], neck_hidden_sizes=[16, 16],
        fusion_hidden_size=16, head_hidden_size=16, **options,
    )  # fmt: skip
    return DepthAnythingForDepthEstimation(config)


def _glpn(**options: Any) -> PreTrainedModel:
    config = GLPNConfig(
        num_encoder_blocks=2, hidden_sizes=[16, 24], depths=[1, 1], num_attention_heads=[1, 2], mlp_ratios=[2, 2],
        patch_sizes=[7, 3], strides=[4, 2], sr_ratios=[8, 4], decoder_hidden_size=16, **options,
    )  # fmt: skip
    return GLPNForDepthEstimation(config)


KINDS = {
    "dpt": Kind(
        _dpt,
        {
            "image_processor_type": "DPTImageProcessor",
            "size": {"height": 64, "width": 64},
        },
        labels=False,
    ),
    "depth-anything": Kind(
        _depth_anything,
        {
            "image_processor_type": "DPTImageProcessor",
            "size": {"height": 70, "width": 70},
            "keep_aspect_ratio": True,
            "ensure_multiple_of": 14,
        },
        labels=False,
    ),
    "glpn": Kind(
        _glpn,
        {"image_processor_type": "GLPNImageProcessor", "size_divisor": 32},
        labels=False,
    ),
}
