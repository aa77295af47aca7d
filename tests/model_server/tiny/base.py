"""How a small model is made and saved."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Kind:
    """A small model of a real architecture, with made-up weights.

    Attributes:
        build: Makes the model; takes options for its configuration.
        processor: What `preprocessor_config.json` says.
        save_more: Saves what else belongs to the folder, such as a tokenizer.
        labels: Whether it has classes of its own.
        gains: What weights are multiplied by, by a part of their names, where all answers would be alike else.
    """

    build: Callable[..., PreTrainedModel]
    processor: dict[str, Any]
    save_more: Callable[[Path], None] = lambda _: None
    labels: bool = True
    gains: Mapping[str, float] = field(default_factory=dict)


def save(kind: Kind, folder: Path, **options: Any) -> Path:
    """Save a model of this kind into the folder, the same one every time; the options go to its configuration."""
    torch.manual_seed(7)
    if kind.labels:
        names = options.pop("id2label", {index: f"kind {index}" for index in range(10)})
        options |= {"id2label": names, "label2id": {name: index for index, name in names.items()}}
    model = kind.build(**options)
    for name, weights in model.named_parameters():
        if weights.ndim > 1:  # as made, they let hardly anything through, and the classes' order would be chance
            torch.nn.init.kaiming_normal_(weights)
        for part, gain in kind.gains.items():
            if part in name:
                weights.data *= gain
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(kind.processor))
    kind.save_more(folder)
    return folder
