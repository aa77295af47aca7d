"""Small segmentation models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoModelForUniversalSegmentation,
    DetrConfig,
    DetrForSegmentation,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    PreTrainedModel,
    ResNetConfig,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SwinConfig,
)

from framemesh.mesh.photos import photo_folder
from model_server.exact import load_processor
from tests.model_server.tiny.base import Kind

_STAGES = ["stage1", "stage2", "stage3", "stage4"]


def _segformer(**options: Any) -> PreTrainedModel:
    config = SegformerConfig(
        num_encoder_blocks=2, hidden_sizes=[16, 32], depths=[1, 1], num_attention_heads=[1, 2], mlp_ratios=[2, 2],
        patch_sizes=[7, 3], strides=[4, 2], sr_ratios=[8, 4], decoder_hidden_size=32, **options,
    )  # fmt: skip
    return SegformerForSemanticSegmentation(config)


def _swin() -> SwinConfig:
    return SwinConfig(
        embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=4, image_size=64, out_features=_STAGES
    )


def _resnet() -> ResNetConfig:
    return ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic", out_features=_STAGES
    )


def _mask2former(**options: Any) -> PreTrainedModel:
    config = Mask2FormerConfig(
        backbone_config=_resnet(), feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=32, num_queries=12, **options,
    )  # fmt: skip
    return Mask2FormerForUniversalSegmentation(config)


def _maskformer(**options: Any) -> PreTrainedModel:
    decoder = DetrConfig(
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32, decoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_attention_heads=2, num_queries=12,
    )  # fmt: skip
    config = MaskFormerConfig(
        backbone_config=_swin(), decoder_config=decoder, fpn_feature_size=32, mask_feature_size=32, **options
    )
    return MaskFormerForInstanceSegmentation(config)


def _detr(**options: Any) -> PreTrainedModel:
    config = DetrConfig(
        backbone_config=_resnet(), d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32,
        decoder_ffn_dim=32, encoder_attention_heads=8, decoder_attention_heads=8, num_queries=12, **options,
    )  # fmt: skip
    return DetrForSegmentation(config)


def _told_apart(*heads: str) -> Callable[[Path], None]:
    """Makes the model's queries differ: as made up, all of them see the same class in the same place."""

    def balance(folder: Path) -> None:
        model = AutoModelForUniversalSegmentation.from_pretrained(folder).eval()
        photo = Image.open(photo_folder() / "chelsea.png").convert("RGB")
        pixels = load_processor(folder)(photo, return_tensors="pt")["pixel_values"]
        if isinstance(model, DetrForSegmentation):
            _look(model)
        for name in heads:
            _balance(model, model.get_submodule(name), pixels)
        model.save_pretrained(folder)

    return balance


@torch.no_grad()
def _look(model: DetrForSegmentation) -> None:
    """Let it count where a query looks, which is nothing beside the picture's features in weights as made up."""
    model.mask_head.conv1.conv.weight[:, model.config.d_model :] *= 100
    for stage in model.mask_head.fpn_stages:
        stage.fpn_adapter.weight *= 0.02


@torch.no_grad()
def _balance(model: PreTrainedModel, head: Any, pixels: torch.Tensor) -> None:
    """Let the head's outputs have the mean 0 and the deviation 3 over all queries."""
    seen: list[torch.Tensor] = []
    hook = head.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model(pixel_values=pixels)
    hook.remove()
    outputs = seen[-1].movedim(1, -1) if isinstance(head, torch.nn.Conv2d) else seen[-1]
    mean = outputs.flatten(0, -2).mean(dim=0)
    scale = 3 / (outputs - mean).std()
    head.weight *= scale
    head.bias.copy_((head.bias - mean) * scale)


KINDS = {
    "segformer": Kind(
        _segformer,
        {"image_processor_type": "SegformerImageProcessor", "size": {"height": 64, "width": 64}},
    ),
    "mask2former": Kind(
        _mask2former,
        {"image_processor_type": "Mask2FormerImageProcessor", "size": {"height": 64, "width": 96}, "size_divisor": 32},
        _told_apart("class_predictor", "model.transformer_module.decoder.mask_predictor.mask_embedder.2.0"),
    ),
    "maskformer": Kind(
        _maskformer,
        {
            "image_processor_type": "MaskFormerImageProcessor",
            "size": {"shortest_edge": 64, "longest_edge": 128},
            "size_divisor": 32,
        },
        _told_apart("class_predictor", "mask_embedder.2.0"),
    ),
    "detr-panoptic": Kind(
        _detr,
        {"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 64, "longest_edge": 96}},
        _told_apart("detr.class_labels_classifier", "bbox_attention.q_proj", "mask_head.output_conv"),
    ),
}
