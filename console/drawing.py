"""A model's answer as `static/painting.js` draws it: numbers and texts in JSON, pictures apart. Pure.

Texts are foreign: they are drawn on a canvas or set as text, and never become markup.
"""

import base64
from collections.abc import Callable
from typing import Any

from framemesh.v1.answer_pb2 import Answer, AnswerState, Box, Label, ModelAnswer

_MAX_LABELS = 5
_MAX_BOXES = 200
_MAX_MASKS = 32
_MAX_POINTS = 2_000
_MAX_NAME = 60
_MAX_TEXT = 400
_MAX_PICTURE_BYTES = 2 * 1024 * 1024

Keep = Callable[[bytes], object]
"""Takes a PNG; gives what stands for it in the drawing."""
Drawing = dict[str, Any]


def drawing(answer: ModelAnswer, keep: Keep) -> Drawing:
    """What to draw of an answer, in pixels of the whole image.

    Args:
        answer: The model's.
        keep: Called with each mask or depth map.
    """
    if answer.state != AnswerState.ANSWER_STATE_SUCCEEDED:
        return {"model": answer.model, "kind": "error", "text": _short(answer.error.message, _MAX_TEXT)}
    kind = answer.answer.WhichOneof("answer")
    make = _KINDS.get(kind or "")
    body = make(answer.answer, keep) if make else {"kind": "other"}
    return {"model": answer.model, **body}


def data_url(png: bytes) -> str:
    """A `Keep` for drawings that travel as JSON alone."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _labels(answer: Answer, _: Keep) -> Drawing:
    return {"kind": "labels", "labels": [_label(label) for label in answer.classification.labels[:_MAX_LABELS]]}


def _boxes(answer: Answer, _: Keep) -> Drawing:
    objects = answer.detection.objects
    boxes = [[*_box(found.box), *_label(found.label)] for found in objects[:_MAX_BOXES]]
    return {"kind": "boxes", "boxes": boxes, "count": len(objects)}


def _masks(answer: Answer, keep: Keep) -> Drawing:
    segments = answer.segmentation.segments
    masks = []
    left = _MAX_PICTURE_BYTES
    for segment in segments[:_MAX_MASKS]:
        left -= len(segment.mask.png)
        if left >= 0:
            masks.append([keep(segment.mask.png), *_label(segment.label)])
    return {"kind": "masks", "masks": masks, "count": len(segments)}


def _depth(answer: Answer, keep: Keep) -> Drawing:
    depth = answer.depth
    if len(depth.png) > _MAX_PICTURE_BYTES:
        return {"kind": "other"}
    return {"kind": "depth", "png": keep(depth.png), "minimum": depth.minimum, "maximum": depth.maximum}


def _embedding(answer: Answer, _: Keep) -> Drawing:
    return {"kind": "embedding", "count": len(answer.embedding.values)}


def _text(answer: Answer, _: Keep) -> Drawing:
    return {"kind": "text", "text": _short(answer.text.text, _MAX_TEXT)}


def _points(answer: Answer, _: Keep) -> Drawing:
    left = _MAX_POINTS
    instances = []
    for instance in answer.keypoints.instances:
        points = [[point.x_px, point.y_px, *_label(point.label)] for point in instance.points[:left]]
        left -= len(points)
        instances.append({"box": _box(instance.box) if instance.HasField("box") else None, "points": points})
    return {"kind": "points", "instances": instances}


_KINDS: dict[str, Callable[[Answer, Keep], Drawing]] = {
    "classification": _labels,
    "detection": _boxes,
    "segmentation": _masks,
    "depth": _depth,
    "embedding": _embedding,
    "text": _text,
    "keypoints": _points,
}


def _label(label: Label) -> list[Any]:
    return [_short(label.name, _MAX_NAME), round(label.score, 4)]


def _box(box: Box) -> list[float]:
    return [round(side, 1) for side in (box.x_min_px, box.y_min_px, box.x_max_px, box.y_max_px)]


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
