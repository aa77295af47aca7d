"""transformers' models as functions from pixels to named outputs: one module for each task. Imports torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framemesh.errors import ConfigurationError
from model_server.networks import (
    captioning,
    classification,
    depth,
    detection,
    embedding,
    keypoints,
    segmentation,
    zero_shot_classification,
    zero_shot_detection,
)
from model_server.networks.base import Network, load_config
from model_server.trust import Trust

__all__ = ["TASKS", "Network", "open_network"]


@dataclass(frozen=True, slots=True)
class _Served:
    architectures: frozenset[str]
    load: Callable[[Path, Any, Trust], Network]


TASKS = {
    "image-classification": _Served(classification.ARCHITECTURES, classification.load),
    "object-detection": _Served(detection.ARCHITECTURES, detection.load),
    "zero-shot-object-detection": _Served(zero_shot_detection.ARCHITECTURES, zero_shot_detection.load),
    "image-segmentation": _Served(segmentation.ARCHITECTURES, segmentation.load),
    "depth-estimation": _Served(depth.ARCHITECTURES, depth.load),
    "zero-shot-image-classification": _Served(zero_shot_classification.ARCHITECTURES, zero_shot_classification.load),
    "keypoint-detection": _Served(keypoints.ARCHITECTURES, keypoints.load),
    "image-to-text": _Served(captioning.ARCHITECTURES, captioning.load),
    "image-feature-extraction": _Served(embedding.ARCHITECTURES, embedding.load),
}
"""What is served, by the hub's name of the task. A model that fits several has the first, unless told otherwise."""


def open_network(folder: Path, task: str, trust: Trust) -> Network:
    """The model in a folder, with its weights.

    Args:
        folder: As `save_pretrained` or the hub has it.
        task: In the hub's words; empty means what the model's config.json says.
        trust: What the model may do.

    Raises:
        ConfigurationError: transformers doesn't know such a model, its task isn't served, or its weights don't fit.
    """
    config = load_config(folder, trust)
    return TASKS[task_of(config, task)].load(folder, config, trust)


def task_of(config: Any, asked: str) -> str:
    """The model's task, by the architectures that its configuration names.

    Raises:
        ConfigurationError: The task isn't served.
    """
    if asked:
        if asked not in TASKS:
            raise ConfigurationError(f"task {asked!r} is not served; served are {', '.join(TASKS)}", task=asked)
        return asked
    names = config.architectures or []
    for task, served in TASKS.items():
        if served.architectures.intersection(names):
            return task
    raise ConfigurationError(
        f"what the model does is not served: its config.json names {', '.join(names) or 'no architecture'}; "
        f"served are {', '.join(TASKS)}; name one as the model's task if it fits",
        architectures=names,
    )
