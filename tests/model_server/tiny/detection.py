"""Small object detectors."""

import string
from pathlib import Path
from typing import Any

from transformers import (
    CLIPTokenizer,
    ConditionalDetrConfig,
    ConditionalDetrForObjectDetection,
    DeformableDetrConfig,
    DeformableDetrForObjectDetection,
    DetrConfig,
    DetrForObjectDetection,
    DFineConfig,
    DFineForObjectDetection,
    HGNetV2Config,
    Owlv2Config,
    Owlv2ForObjectDetection,
    OwlViTConfig,
    OwlViTForObjectDetection,
    PreTrainedModel,
    ResNetConfig,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    YolosConfig,
    YolosForObjectDetection,
)

from tests.model_server.tiny.base import Kind

_TRANSFORMER: dict[str, Any] = {
    "d_model": 32,
    "num_queries": 24,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 32,
}
_TWO_LAYERS = _TRANSFORMER | {"decoder_layers": 2}  # some tie the heads of the first and the next
_SIZES: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
_LEVELS = ["stage2", "stage3", "stage4"]
# What is exported has two stages, and sees no less for it: the exporter's time goes by the number of steps.
_TWO_STAGES: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 32], "depths": [1, 1], "layer_type": "basic"}
_EDGES = {"shortest_edge": 64, "longest_edge": 96}
_SQUARE = {"height": 64, "width": 64}


def _resnet(*levels: str) -> ResNetConfig:
    return ResNetConfig(**_SIZES, layer_type="basic", out_features=list(levels))


def _detr(**options: Any) -> PreTrainedModel:
    backbone = ResNetConfig(**_TWO_STAGES, out_features=["stage2"])
    return DetrForObjectDetection(DetrConfig(**_TRANSFORMER, backbone_config=backbone, **options))


def _conditional_detr(**options: Any) -> PreTrainedModel:
    config = ConditionalDetrConfig(**_TRANSFORMER, backbone_config=_resnet("stage4"), **options)
    return ConditionalDetrForObjectDetection(config)


def _deformable_detr(**options: Any) -> PreTrainedModel:
    config = DeformableDetrConfig(
        **_TWO_LAYERS,
        backbone_config=_resnet(*_LEVELS),
        num_feature_levels=4,
        encoder_n_points=2,
        decoder_n_points=2,
        **options,
    )
    return DeformableDetrForObjectDetection(config)


def _yolos(**options: Any) -> PreTrainedModel:
    config = YolosConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=[64, 96],
        patch_size=16,
        num_detection_tokens=24,
        **options,
    )
    return YolosForObjectDetection(config)


def _rt_detr(**options: Any) -> PreTrainedModel:
    config = RTDetrConfig(
        **_TRANSFORMER,
        backbone_config=RTDetrResNetConfig(**_TWO_STAGES, out_features=["stage1", "stage2"]),
        feat_strides=[4, 8],
        num_feature_levels=2,
        encode_proj_layers=[1],
        encoder_in_channels=[8, 32],
        encoder_hidden_dim=32,
        decoder_in_channels=[32, 32],
        **options,
    )
    return RTDetrForObjectDetection(config)


def _d_fine(**options: Any) -> PreTrainedModel:
    backbone = HGNetV2Config(
        hidden_sizes=[8, 16, 24, 32],
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 8, 16, 24],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 16, 24, 32],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        out_features=_LEVELS,
    )
    config = DFineConfig(
        **_TWO_LAYERS,
        backbone_config=backbone,
        encoder_in_channels=[16, 24, 32],
        encoder_hidden_dim=32,
        decoder_in_channels=[32, 32, 32],
        **options,
    )
    return DFineForObjectDetection(config)


_OWL: dict[str, Any] = {
    "text_config": {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "bos_token_id": 1,
        "eos_token_id": 63,
    },
    "vision_config": {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 8,
    },
    "projection_dim": 32,
}


_OWL_GAINS = {
    "token_embedding": 4,
    "class_embedding": 0.2,
    "position_embedding": 10,
    "logit_scale": 0.5,
    "logit_shift": 0.5,
}


def _owlvit(**options: Any) -> PreTrainedModel:
    return OwlViTForObjectDetection(OwlViTConfig(**_OWL, **options))


def _owlv2(**options: Any) -> PreTrainedModel:
    return Owlv2ForObjectDetection(Owlv2Config(**_OWL, **options))


def _letters(folder: Path) -> None:
    """Saves a tokenizer of OWL's kind, which knows letters alone: it pads with number 0, and the end is the highest."""
    letters = string.ascii_lowercase
    known = ["!", "<|startoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    words = {word: index for index, word in enumerate(known)} | {"<|endoftext|>": _OWL["text_config"]["vocab_size"] - 1}
    CLIPTokenizer(vocab=words, merges=[], pad_token="!", model_max_length=16).save_pretrained(folder)


KINDS = {
    "detr": Kind(
        _detr,
        {"image_processor_type": "DetrImageProcessor", "size": _EDGES},
        gains={"query_position": 20, "class_labels": 2},
    ),
    "conditional_detr": Kind(
        _conditional_detr,
        {"image_processor_type": "ConditionalDetrImageProcessor", "size": _EDGES},
        gains={"query_position": 20, "class_labels": 3},
    ),
    "deformable_detr": Kind(_deformable_detr, {"image_processor_type": "DeformableDetrImageProcessor", "size": _EDGES}),
    "yolos": Kind(_yolos, {"image_processor_type": "YolosImageProcessor", "size": _EDGES}),
    "rt_detr": Kind(
        _rt_detr,
        {"image_processor_type": "RTDetrImageProcessor", "size": _SQUARE},
        gains={"class_embed": 2},
    ),
    "d_fine": Kind(_d_fine, {"image_processor_type": "RTDetrImageProcessor", "size": _SQUARE}),
    "owlvit": Kind(
        _owlvit,
        {"image_processor_type": "OwlViTImageProcessor", "size": _SQUARE},
        save_more=_letters,
        labels=False,
        gains=_OWL_GAINS,
    ),
    "owlv2": Kind(
        _owlv2,
        {"image_processor_type": "Owlv2ImageProcessor", "size": _SQUARE},
        save_more=_letters,
        labels=False,
        gains=_OWL_GAINS,
    ),
}
