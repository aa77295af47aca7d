"""Finders of interest points (SuperPoint) and of persons' joints (ViTPose). Imports torch."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForKeypointDetection, AutoModelForPoseEstimation

from framemesh.errors import ConfigurationError
from model_server.networks.base import Network, labels_of, load_model
from model_server.tasks.keypoints import JointMaps, KeypointDetection, ScoreMap
from model_server.trust import Trust

ARCHITECTURES = frozenset({"SuperPointForKeypointDetection", "VitPoseForPoseEstimation"})
"""The hub calls both keypoint detection, transformers the second pose estimation."""


class _ScoreMap(torch.nn.Module):
    """All of SuperPoint but the choice of points, whose number differs from image to image."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        encoded = self.model.encoder(self.model.extract_one_channel_pixel_values(pixel_values))[0]
        return (self.model.keypoint_decoder._get_pixel_scores(encoded),)  # noqa: SLF001 - it has no other name


class _JointMaps(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.experts = model.config.backbone_config.num_experts

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # ViTPose+ was trained on several sets of joints, of which the first is COCO's.
        first = pixel_values.new_zeros(pixel_values.shape[0], dtype=torch.int64) if self.experts > 1 else None
        return (self.model(pixel_values=pixel_values, dataset_index=first).heatmaps,)


def load(folder: Path, config: Any, trust: Trust) -> Network:
    """The model in the folder.

    Raises:
        ConfigurationError: It is of another architecture, or its weights can't be loaded.
    """
    match config.model_type:
        case "superpoint":
            decoding = ScoreMap(config.keypoint_threshold, config.border_removal_distance, config.max_keypoints)
            model = load_model(AutoModelForKeypointDetection, folder, trust)
            return Network(KeypointDetection(("interest point",), decoding), _ScoreMap(model), ("scores",))
        case "vitpose":
            model = load_model(AutoModelForPoseEstimation, folder, trust)
            return Network(KeypointDetection(labels_of(config), JointMaps()), _JointMaps(model), ("heatmaps",))
        case other:
            raise ConfigurationError(
                f"keypoint detection is served with {', '.join(sorted(ARCHITECTURES))}; this is a {other}"
            )
