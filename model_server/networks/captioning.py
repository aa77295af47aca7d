"""Models that describe an image in words, without being asked anything. Imports torch."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from framemesh.errors import ConfigurationError
from model_server.networks.base import Network, load_model
from model_server.tasks.captioning import Captioning
from model_server.trust import Trust

ARCHITECTURES = frozenset({"BlipForConditionalGeneration", "GitForCausalLM", "VisionEncoderDecoderModel"})
"""Those that write from pixels alone; most others want a prompt."""


_MAX_TOKENS = 20  # what transformers takes, with a warning in every call, where a model says nothing


class _Written(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        settings = getattr(model, "text_decoder", model).generation_config  # BLIP's decoder has its own
        unbounded = settings.max_length is None and settings.max_new_tokens is None
        self.options = {"max_new_tokens": _MAX_TOKENS} if unbounded else {}

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.model.generate(pixel_values=pixel_values, **self.options),)


def load(folder: Path, config: Any, trust: Trust) -> Network:
    """The model in the folder.

    Raises:
        ConfigurationError: It needs a prompt, or its weights can't be loaded.
    """
    name = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(config.model_type)
    if name not in ARCHITECTURES:
        raise ConfigurationError(
            f"image to text is served with {', '.join(sorted(ARCHITECTURES))}; this is a {name or config.model_type}, "
            "which wants more than an image"
        )
    model = load_model(AutoModelForImageTextToText, folder, trust)
    return Network(
        Captioning(),
        _Written(model),
        ("tokens",),
        unexportable="it writes token by token, as often as it takes, which no one graph does",
    )
