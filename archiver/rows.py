"""Rows of the lake's tables, made of the streams' messages. Pure: bytes in, rows out."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from framemesh.corrections import task_of
from framemesh.frames import NANOSECONDS, FrameId
from framemesh.names import MAX_MODEL_LENGTH, is_label
from framemesh.v1.answer_pb2 import Answer, AnswerState, Box
from framemesh.v1.correction_pb2 import Correction
from framemesh.v1.frame_pb2 import Frame, StoredFrame
from framemesh.v1.result_pb2 import Result

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One folder of a table: the rows of one camera or model, by the hour of the frames' ids."""

    owner: str
    date: date
    hour: int

    def prefix(self, partitions: pa.Schema) -> str:
        """Where its files lie, such as `model=vit/date=2026-01-31/hour=07/`."""
        first = partitions.names[0]
        return f"{first}={self.owner}/date={self.date:%Y-%m-%d}/hour={self.hour:02}/"


def frame_row(body: bytes) -> tuple[Partition, Row] | None:
    """The row of a message on `stored.<camera>`; none where it isn't about a frame.

    Raises:
        DecodeError, ValueError, OverflowError: It isn't one of our messages at all, or has impossible times.
    """
    stored = StoredFrame.FromString(body)
    frame = stored.frame
    partition = _partition(frame, frame.camera)
    if partition is None:
        return None
    return partition, {
        "frame_id": frame.frame_id,
        "capture_time": frame.capture_time.ToDatetime(UTC),
        "store_time": stored.store_time.ToDatetime(UTC),
        "width_px": frame.width_px,
        "height_px": frame.height_px,
        "size_bytes": frame.size_bytes,
        "content_type": frame.content_type,
        "camera_sequence": frame.camera_sequence if frame.HasField("camera_sequence") else None,
        "object_key": frame.object_key,
    }


def result_row(body: bytes) -> tuple[Partition, Row] | None:
    """The row of a message on `results.<model>.<camera>`, or `shadows...`; none where it isn't a model's answer.

    Raises:
        DecodeError, ValueError, OverflowError: It isn't one of our messages at all, or has impossible times.
    """
    result = Result.FromString(body)
    frame, said = result.frame, result.answer
    partition = _partition(frame, said.model)
    if partition is None or not is_label(said.model, max_length=MAX_MODEL_LENGTH):
        return None
    labels = seen(said.answer)
    best = max(labels, key=lambda label: label["score"], default=None)
    succeeded = said.state == AnswerState.ANSWER_STATE_SUCCEEDED
    return partition, {
        "camera": frame.camera,
        "frame_id": frame.frame_id,
        "capture_time": frame.capture_time.ToDatetime(UTC),
        "answer_time": result.answer_time.ToDatetime(UTC),
        "state": "succeeded" if succeeded else "failed",
        "label": best["name"] if best else None,
        "score": best["score"] if best else None,
        "labels": labels,
        "text": said.answer.text.text if said.answer.HasField("text") else None,
        "embedding": list(said.answer.embedding.values) if said.answer.HasField("embedding") else None,
        "answer": said.answer.SerializeToString() if said.answer.WhichOneof("answer") in _MORE_THAN_COLUMNS else None,
        "error_reason": None if succeeded else said.error.reason,
        "error_message": None if succeeded else said.error.message,
        "model_version": said.model_version or None,
        "latency_seconds": result.latency.ToNanoseconds() / NANOSECONDS,
        "inference_seconds": said.timing.inference_duration.ToNanoseconds() / NANOSECONDS if succeeded else None,
        "skipped": result.skipped_frame_count,
        "replayed": result.replayed,
        "object_key": frame.object_key,
    }


def correction_row(body: bytes) -> tuple[Partition, Row] | None:
    """The row of a message on `corrections.<camera>.<time>.<task>`; none where it says nothing of a frame.

    Raises:
        DecodeError, ValueError, OverflowError: It isn't one of our messages at all, or has impossible times.
    """
    said = Correction.FromString(body)
    frame = said.frame
    partition = _partition(frame, frame.camera)
    kind = said.WhichOneof("truth")
    if partition is None or kind is None:
        return None
    return partition, {
        "frame_id": frame.frame_id,
        "task": task_of(said),
        "capture_time": frame.capture_time.ToDatetime(UTC),
        "correct_time": said.correct_time.ToDatetime(UTC),
        "label": said.label if kind == "label" else None,
        "objects": [{"name": each.label} | _edges(each.box) for each in said.objects.objects],
        "model": said.model or None,
        "author": said.author or None,
        "removed": said.removed,
        "object_key": frame.object_key,
    }


def seen(answer: Answer) -> list[Row]:
    """What an answer names: classes, objects with their boxes, segments."""
    match answer.WhichOneof("answer"):
        case "classification":
            return [_named(label.name, label.score) for label in answer.classification.labels]
        case "detection":
            return [
                _named(found.label.name, found.label.score) | _edges(found.box) for found in answer.detection.objects
            ]
        case "segmentation":
            return [_named(segment.label.name, segment.label.score) for segment in answer.segmentation.segments]
        case _:
            return []


_MORE_THAN_COLUMNS = {"segmentation", "depth", "keypoints"}
"""Answers that the columns don't hold whole."""


def _edges(box: Box) -> Row:
    return {
        "x_min_px": box.x_min_px,
        "y_min_px": box.y_min_px,
        "x_max_px": box.x_max_px,
        "y_max_px": box.y_max_px,
    }


def _named(name: str, score: float) -> Row:
    return {"name": name, "score": score}


def _partition(frame: Frame, owner: str) -> Partition | None:
    """By the frame's id, as objects are; none where somebody else wrote something of his own there."""
    frame_id = FrameId.parse(frame.frame_id)
    if frame_id is None or frame_id.camera != frame.camera or not is_label(frame.camera):
        return None
    captured = datetime.fromtimestamp(frame_id.captured_ns // NANOSECONDS, UTC)
    return Partition(owner, captured.date(), captured.hour)
