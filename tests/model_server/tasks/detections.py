"""What tests of detectors have in common: their oracle's answers beside ours."""

from typing import Any

import numpy as np
import torch
from PIL import Image

from framemesh.v1.answer_pb2 import Answer


def best_threshold(scores: torch.Tensor) -> float:
    """A score which some, not all, of the objects have, and none has nearly."""
    falling = np.sort(scores.numpy())[::-1]
    middle = slice(len(falling) // 4, 3 * len(falling) // 4)
    gaps = falling[middle][:-1] - falling[middle][1:]
    assert gaps.max() > 1e-3
    after = middle.start + int(gaps.argmax())
    return float((falling[after] + falling[after + 1]) / 2)


def greatest_differences(ours: Answer, theirs: dict[str, Any], photo: Image.Image) -> tuple[float, float]:
    """The greatest difference of two scores, and of two edges in pixels; every object of theirs is one of ours.

    Args:
        ours: The answer.
        theirs: What `post_process_object_detection` says of the photo.
        photo: What both have seen.
    """
    mine = [
        (one.label.index, one.label.score, [one.box.x_min_px, one.box.y_min_px, one.box.x_max_px, one.box.y_max_px])
        for one in ours.detection.objects
    ]
    assert [score for _, score, _ in mine] == sorted((score for _, score, _ in mine), reverse=True)
    edges = np.clip(theirs["boxes"].numpy(), 0, [photo.width, photo.height] * 2)
    seen = (edges[:, 0] < edges[:, 2]) & (edges[:, 1] < edges[:, 3])
    assert len(mine) == seen.sum() >= 3
    scores, pixels = [], []
    for index, score, box in zip(
        theirs["labels"][seen].tolist(), theirs["scores"][seen].tolist(), edges[seen], strict=True
    ):
        nearest = min(mine, key=lambda one: (one[0] != index, np.abs(one[2] - box).max() + abs(one[1] - score)))
        mine.remove(nearest)
        assert nearest[0] == index
        scores.append(abs(nearest[1] - score))
        pixels.append(float(np.abs(nearest[2] - box).max()))
    return max(scores), max(pixels)
