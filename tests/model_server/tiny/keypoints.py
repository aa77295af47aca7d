"""Small finders of interest points and joints."""

from typing import Any

import torch
from transformers import (
    PreTrainedModel,
    SuperPointConfig,
    SuperPointForKeypointDetection,
    VitPoseConfig,
    VitPoseForPoseEstimation,
)

from tests.model_server.tiny.base import Kind


def _superpoint(**options: Any) -> PreTrainedModel:
    config = SuperPointConfig(
        encoder_hidden_sizes=[8, 8, 16, 16], decoder_hidden_size=16, descriptor_decoder_dim=16, **options
    )
    return SuperPointForKeypointDetection(config)


def _vitpose(*, num_experts: int = 1, **options: Any) -> PreTrainedModel:
    backbone = {
        "model_type": "vitpose_backbone", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": [64, 48], "patch_size": [8, 8], "out_indices": [2], "num_experts": num_experts,
        "part_features": 8,
    }  # fmt: skip
    model = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, **options))
    torch.nn.init.normal_(model.get_parameter("head.conv.bias"))  # so that some joints are nowhere
    return model


def _vitpose_plus(**options: Any) -> PreTrainedModel:
    return _vitpose(num_experts=3, **options)


_VITPOSE_PROCESSOR = {"image_processor_type": "VitPoseImageProcessor", "size": {"height": 64, "width": 48}}

KINDS = {
    "superpoint": Kind(
        _superpoint,
        {"image_processor_type": "SuperPointImageProcessor", "size": {"height": 120, "width": 160}},
        labels=False,
    ),
    "vitpose": Kind(_vitpose, _VITPOSE_PROCESSOR),
    "vitpose-plus": Kind(_vitpose_plus, _VITPOSE_PROCESSOR),
}
