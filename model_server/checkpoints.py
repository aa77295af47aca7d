"""Models as transformers loads them, and what they want of their input. Imports torch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
from transformers.utils import logging

from framemesh.errors import ConfigurationError
from model_server import processors, samples
from model_server.artifacts import Activation
from model_server.preprocessing import Preprocessing, Size

_TOLERANCE = 1e-4
"""Most that our input may differ from the processor's; one step of one pixel makes 100 times as much."""

logging.disable_progress_bar()  # type: ignore[no-untyped-call]
logging.set_verbosity_error()  # type: ignore[no-untyped-call]


class Network(torch.nn.Module):
    """A classifier from pixels to logits, as a graph of one input and one output."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Logits of shape (images, classes) from pixels of shape (images, 3, height, width)."""
        logits: torch.Tensor = self.model(pixel_values=pixel_values).logits
        return logits


def load_config(folder: Path) -> Any:
    """The model's configuration.

    Raises:
        ConfigurationError: transformers doesn't know such a model, or it is no image classifier.
    """
    try:
        config = AutoConfig.from_pretrained(folder)
    except (ValueError, KeyError, OSError) as error:
        raise ConfigurationError(f"transformers can't read the model's config.json: {error}") from error
    known = {
        name
        for names in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.values()
        for name in ((names,) if isinstance(names, str) else names)
    }
    architectures = config.architectures or []
    if not known.intersection(architectures):
        raise ConfigurationError(
            f"the model is no image classifier: its config.json names {', '.join(architectures) or 'no architecture'}; "
            "choose one of https://huggingface.co/models?pipeline_tag=image-classification",
            architectures=architectures,
        )
    return config


def load_network(folder: Path) -> Network:
    """The network with its weights, ready to infer.

    Raises:
        ConfigurationError: The weights don't fit, or lack some of the network's.
    """
    try:
        model, loaded = AutoModelForImageClassification.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except (SafetensorError, ValueError, RuntimeError, OSError, ImportError) as error:
        raise ConfigurationError(f"transformers can't load the model's weights: {error}") from error
    if missing := sorted(loaded["missing_keys"]):
        raise ConfigurationError(
            f"the weights lack {len(missing)} of the network's tensors, such as {missing[0]!r}: transformers would "
            "make them up; choose a model that was trained to classify"
        )
    return Network(model).eval()


def labels(config: Any) -> tuple[str, ...]:
    """The classes by index; transformers itself names those that the model doesn't."""
    return tuple(str(config.id2label[index]) for index in range(config.num_labels))


def activation(config: Any) -> Activation:
    """What makes scores of the outputs, as transformers' own pipeline chooses."""
    if config.problem_type == "regression":
        return "none"
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"


def read_preprocessing(folder: Path) -> Preprocessing:
    """What the model's image processor does, checked against that processor on photos of several sizes.

    Raises:
        ConfigurationError: transformers can't load the processor, or ours makes another input.
    """
    try:
        # Pillow's filters: torchvision's differ by a few steps, and would be chosen where it is installed.
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")  # type: ignore[no-untyped-call]
    except (ValueError, KeyError, OSError, ImportError, TypeError) as error:
        raise ConfigurationError(f"transformers can't load the model's image processor: {error}") from error
    settings = processor.to_dict()
    preprocessing = processors.read(settings)
    for photo in samples.photos():
        theirs = processor(images=photo, return_tensors="np")["pixel_values"]
        ours = prepare(preprocessing, photo)
        if theirs.shape != ours.shape:
            raise processors.unsupported(settings, f"makes inputs of shape {theirs.shape} where we make {ours.shape}")
        difference = float(np.abs(theirs - ours).max())
        if difference > _TOLERANCE:
            raise processors.unsupported(settings, f"makes inputs that differ from ours by {difference:.2g}")
    return preprocessing


def prepare(preprocessing: Preprocessing, photo: Image.Image) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One whole RGB photo as a batch of one."""
    pixels = preprocessing.batch(1)
    preprocessing.fill(pixels[0], photo, preprocessing.resized(Size(*photo.size)))
    return pixels
