"""The tasks that are served: one module each, pure, from a network's outputs to a typed answer."""

from typing import Annotated

from pydantic import Field

from model_server.tasks.base import Asked, Outputs, Texts
from model_server.tasks.captioning import Captioning
from model_server.tasks.classification import Classification
from model_server.tasks.depth import Depth
from model_server.tasks.detection import Detection
from model_server.tasks.embedding import Embedding
from model_server.tasks.keypoints import KeypointDetection
from model_server.tasks.segmentation import Segmentation
from model_server.tasks.zero_shot_classification import ZeroShotClassification
from model_server.tasks.zero_shot_detection import ZeroShotDetection

Task = Annotated[
    Captioning
    | Classification
    | Depth
    | Detection
    | Embedding
    | KeypointDetection
    | Segmentation
    | ZeroShotClassification
    | ZeroShotDetection,
    Field(discriminator="name"),
]
"""Any task that is served."""

__all__ = [
    "Asked",
    "Captioning",
    "Classification",
    "Depth",
    "Detection",
    "Embedding",
    "KeypointDetection",
    "Outputs",
    "Segmentation",
    "Task",
    "Texts",
    "ZeroShotClassification",
    "ZeroShotDetection",
]
