"""What people say that frames show: its tasks, and what may be said. Pure."""

import math
from typing import Literal

from framemesh.errors import InvalidRequestError
from framemesh.limits import MAX_LABEL_LENGTH
from framemesh.v1.answer_pb2 import Box
from framemesh.v1.correction_pb2 import CorrectedObjects, Correction
from framemesh.v1.correction_service_pb2 import CorrectFrameRequest
from framemesh.v1.frame_pb2 import Frame

LabelTask = Literal["image-classification", "object-detection"]
CLASSIFICATION: LabelTask = "image-classification"
DETECTION: LabelTask = "object-detection"
TASKS: tuple[LabelTask, ...] = (CLASSIFICATION, DETECTION)
"""Tasks whose answers people correct."""

MAX_OBJECTS = 1000


def task_of(said: Correction | CorrectFrameRequest) -> LabelTask:
    """The task for which something is said.

    Raises:
        InvalidRequestError: Nothing is said.
    """
    match said.WhichOneof("truth"):
        case "label":
            return CLASSIFICATION
        case "objects":
            return DETECTION
        case _:
            raise InvalidRequestError("the request says nothing of the frame: set label or objects", field="truth")


def correct_request(frame_id: str, truth: str | CorrectedObjects, model: str) -> CorrectFrameRequest:
    """The message that says what a frame shows: a class, or its objects."""
    if isinstance(truth, str):
        return CorrectFrameRequest(frame_id=frame_id, label=truth, model=model)
    return CorrectFrameRequest(frame_id=frame_id, objects=truth, model=model)


def check_label_text(label: str) -> None:
    """Pass what can be the name of a class.

    Raises:
        InvalidRequestError: It is empty, too long, or has characters that nobody sees.
    """
    if not label.strip() or len(label) > MAX_LABEL_LENGTH or not label.isprintable():
        raise InvalidRequestError(
            f"{label[:80]!r} can't be a label: use 1 to {MAX_LABEL_LENGTH} printable characters", field="label"
        )


def check_objects(objects: CorrectedObjects, frame: Frame) -> None:
    """Pass objects whose boxes lie in the frame, either way up: an EXIF may turn it.

    Raises:
        InvalidRequestError: They are too many, or one can't be there.
    """
    if len(objects.objects) > MAX_OBJECTS:
        raise InvalidRequestError(
            f"{len(objects.objects):,} objects are over the {MAX_OBJECTS:,} that a correction may have", field="objects"
        )
    for found in objects.objects:
        check_label_text(found.label)
        if not _lies_in(found.box, frame.width_px, frame.height_px):
            box = found.box
            edges = f"{box.x_min_px:g},{box.y_min_px:g},{box.x_max_px:g},{box.y_max_px:g}"
            raise InvalidRequestError(
                f"the box {edges} of {found.label!r} is none in {frame.width_px} x {frame.height_px} pixels: "
                "give its left, upper, right and lower edge in pixels",
                field="box",
            )


def _lies_in(box: Box, width_px: int, height_px: int) -> bool:
    edges = (box.x_min_px, box.y_min_px, box.x_max_px, box.y_max_px)
    sides = ((width_px, height_px), (height_px, width_px))
    return (
        all(map(math.isfinite, edges))
        and 0 <= box.x_min_px < box.x_max_px
        and 0 <= box.y_min_px < box.y_max_px
        and any(box.x_max_px <= width and box.y_max_px <= height for width, height in sides)
    )
