"""Small models that see and read, or see and write."""

from typing import Any

from transformers import (
    AlignConfig,
    AlignModel,
    BlipConfig,
    BlipForConditionalGeneration,
    CLIPConfig,
    CLIPModel,
    GitConfig,
    GitForCausalLM,
    GPT2Config,
    PreTrainedModel,
    SiglipConfig,
    SiglipModel,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

from tests.model_server.tiny import tokenizers
from tests.model_server.tiny.base import Kind

_SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
_VISION: dict[str, Any] = {**_SIZES, "image_size": 32, "patch_size": 8}


def _clip(**options: Any) -> PreTrainedModel:
    text: dict[str, Any] = {**_SIZES, "vocab_size": 700, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=16, **options))


def _siglip(**options: Any) -> PreTrainedModel:
    text: dict[str, Any] = {**_SIZES, "vocab_size": 120, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION, **options))
    model.logit_scale.data.fill_(3.5)  # so that scores are apart
    model.logit_bias.data.fill_(5.0)
    return model


def _align(**options: Any) -> PreTrainedModel:
    text: dict[str, Any] = {**_SIZES, "vocab_size": 130, "pad_token_id": 0}
    vision: dict[str, Any] = {
        "image_size": 32, "width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 16, "in_channels": [32],
        "out_channels": [16], "kernel_sizes": [3], "strides": [2], "expand_ratios": [1], "num_block_repeats": [1],
        "depthwise_padding": [],
    }  # fmt: skip
    return AlignModel(
        AlignConfig(text_config=text, vision_config=vision, projection_dim=16, temperature_init_value=0.1, **options)
    )


def _blip(**options: Any) -> PreTrainedModel:
    text: dict[str, Any] = {
        **_SIZES, "encoder_hidden_size": 32, "vocab_size": 130, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3,
        "pad_token_id": 0,
    }  # fmt: skip
    return BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=_VISION, **options))


def _vit_gpt2(**options: Any) -> PreTrainedModel:
    decoder = GPT2Config(
        n_embd=32, n_layer=1, n_head=2, n_positions=64, vocab_size=400, bos_token_id=0, eos_token_id=0,
        tie_word_embeddings=False,
    )  # fmt: skip
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**_VISION), decoder)
    config.update(
        {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 0, "tie_word_embeddings": False, **options}
    )
    return VisionEncoderDecoderModel(config)


def _git(**options: Any) -> PreTrainedModel:
    tokens: dict[str, Any] = {"vocab_size": 130, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    return GitForCausalLM(GitConfig(vision_config=_VISION, **_SIZES, **tokens, **options))


_CLIP_PROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": 32},
    "crop_size": {"height": 32, "width": 32},
}

KINDS = {
    "clip": Kind(_clip, _CLIP_PROCESSOR, tokenizers.clip, labels=False),
    "siglip": Kind(
        _siglip,
        {
            "image_processor_type": "SiglipImageProcessor",
            "size": {"height": 32, "width": 32},
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
        tokenizers.siglip,
        labels=False,
    ),
    "align": Kind(
        _align,
        {
            "image_processor_type": "EfficientNetImageProcessor",
            "size": {"height": 40, "width": 40},
            "crop_size": {"height": 32, "width": 32},
            "do_center_crop": True,
        },
        tokenizers.bert,
        labels=False,
    ),
    "blip": Kind(
        _blip,
        {"image_processor_type": "BlipImageProcessor", "size": {"height": 32, "width": 32}},
        tokenizers.bert,
        labels=False,
    ),
    "vit-gpt2": Kind(
        _vit_gpt2,
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}},
        tokenizers.gpt2,
        labels=False,
    ),
    "git": Kind(_git, _CLIP_PROCESSOR, tokenizers.bert, labels=False),
}
