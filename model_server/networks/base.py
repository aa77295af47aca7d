"""How every model of transformers is opened. Imports torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig
from transformers.utils import logging

from framemesh.errors import ConfigurationError
from model_server.tasks import Task
from model_server.trust import Trust, explained

logging.disable_progress_bar()  # type: ignore[no-untyped-call]
logging.set_verbosity_error()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A model as a function from pixels to named outputs, with its task.

    Attributes:
        task: What it does, and all that its answers depend on.
        module: From pixels of shape (images, channels, height, width) to a tuple of tensors.
        outputs: Their names; the first axis of each counts the images.
        texts: From tokens and their mask, each of shape (texts, tokens), to features of shape (texts, features). None
            where the task needs no words.
        unexportable: Why no graph can be made of it; empty where one can.
    """

    task: Task
    module: torch.nn.Module
    outputs: tuple[str, ...]
    texts: torch.nn.Module | None = None
    unexportable: str = ""


def load_config(folder: Path, trust: Trust) -> Any:
    """The model's configuration.

    Raises:
        ConfigurationError: transformers doesn't know such a model.
    """
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust.remote_code)
    except (ValueError, KeyError, OSError) as error:
        raise ConfigurationError(f"transformers can't read the model's config.json: {explained(error)}") from error


def load_model(kind: Any, folder: Path, trust: Trust, *, droppable: str = "", **options: Any) -> Any:
    """The model with its weights, ready to infer in 32-bit floats.

    Args:
        kind: One of transformers' auto classes.
        folder: The model's own.
        trust: What it may do.
        droppable: The layer that the model does without where the weights lack it; empty means none.
        options: More for `from_pretrained`.

    Raises:
        ConfigurationError: The weights don't fit, or lack some of the network's.
    """
    try:
        model, loaded = kind.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=None if trust.pickle else True,
            trust_remote_code=trust.remote_code,
            output_loading_info=True,
            **options,
        )
    except (SafetensorError, ValueError, RuntimeError, OSError, ImportError) as error:
        raise ConfigurationError(f"transformers can't load the model's weights: {explained(error)}") from error
    missing = sorted(loaded["missing_keys"])
    if droppable and missing and all(name.startswith(f"{droppable}.") for name in missing):
        setattr(model, droppable, None)
    elif missing:
        raise ConfigurationError(
            f"the weights lack {len(missing)} of the network's tensors, such as {missing[0]!r}: transformers would "
            "make them up; choose a model that was trained for its task"
        )
    return model.eval()


def labels_of(config: Any) -> tuple[str, ...]:
    """The classes by index; transformers itself names those that the model doesn't."""
    return tuple(str(config.id2label[index]) for index in range(config.num_labels))


def architectures(*mappings: dict[str, Any]) -> frozenset[str]:
    """The names of model classes in tables of transformers such as `MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES`."""

    def names(values: Iterable[Any]) -> Iterable[str]:
        for value in values:
            yield from (value,) if isinstance(value, str) else value

    return frozenset(name for mapping in mappings for name in names(mapping.values()))
