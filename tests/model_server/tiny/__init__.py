"""Small models of real architectures with made-up weights, as ordinary Hugging Face folders."""

from pathlib import Path
from typing import Any

from tests.model_server.tiny import classification, depth, detection, embedding, keypoints, language, segmentation
from tests.model_server.tiny.base import save

KINDS = (
    classification.KINDS
    | detection.KINDS
    | embedding.KINDS
    | keypoints.KINDS
    | language.KINDS
    | depth.KINDS
    | segmentation.KINDS
)


def make(kind: str, folder: Path, **options: Any) -> Path:
    """Save a model of this kind into the folder; the options go to its configuration."""
    return save(KINDS[kind], folder, **options)
