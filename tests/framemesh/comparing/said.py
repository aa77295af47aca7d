"""What models and people say of frames, as messages of the streams."""

from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration

from framemesh.frames import NANOSECONDS, FrameId, object_key, timestamp
from framemesh.v1.answer_pb2 import (
    Answer,
    AnswerError,
    AnswerState,
    Box,
    Classification,
    DetectedObject,
    Detection,
    InferenceTiming,
    Label,
    ModelAnswer,
)
from framemesh.v1.correction_pb2 import CorrectedObject, CorrectedObjects, Correction
from framemesh.v1.frame_pb2 import Frame
from framemesh.v1.result_pb2 import Result

START_NS = 1_790_000_040 * NANOSECONDS  # 2026-09-21T14:14:00Z, the beginning of a minute
SINCE, UNTIL = datetime(2026, 9, 21, tzinfo=UTC), datetime(2026, 9, 23, tzinfo=UTC)


def frame(camera: str, second: float) -> Frame:
    frame_id = FrameId(camera, START_NS + round(second * NANOSECONDS))
    return Frame(
        frame_id=str(frame_id),
        camera=camera,
        capture_time=timestamp(frame_id.captured_ns),
        width_px=640,
        height_px=480,
        content_type="image/jpeg",
        object_key=object_key(frame_id, "image/jpeg"),
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model says of a frame; nothing said is a failure."""

    model: str
    camera: str
    second: float
    answer: Answer | None
    version: str = "v1"
    shadow: bool = False
    replayed: bool = False
    latency_seconds: float = 0.05
    age_seconds: float = 0.2

    def message(self) -> tuple[str, bytes]:
        of_frame = frame(self.camera, self.second)
        said = ModelAnswer(model=self.model, model_version=self.version)
        if self.answer is None:
            said.state = AnswerState.ANSWER_STATE_FAILED
            said.error.CopyFrom(AnswerError(reason="INVALID_IMAGE", message="no image"))
        else:
            said.state = AnswerState.ANSWER_STATE_SUCCEEDED
            said.answer.CopyFrom(self.answer)
            inference = Duration(nanos=round(self.latency_seconds / 2 * NANOSECONDS))
            said.timing.CopyFrom(InferenceTiming(inference_duration=inference))
        answered_ns = of_frame.capture_time.ToNanoseconds() + round(self.age_seconds * NANOSECONDS)
        result = Result(
            frame=of_frame,
            answer=said,
            answer_time=timestamp(answered_ns),
            latency=Duration(nanos=round(self.latency_seconds * NANOSECONDS)),
            replayed=self.replayed,
        )
        stream = "shadows" if self.shadow else "results"
        return f"{stream}.{self.model}.{self.camera}", result.SerializeToString()


@dataclass(frozen=True, slots=True)
class Word:
    """What a person says of a frame: a class, or objects with boxes."""

    camera: str
    second: float
    truth: str | list[tuple[str, tuple[float, float, float, float]]]

    def message(self) -> tuple[str, bytes]:
        of_frame = frame(self.camera, self.second)
        said = Correction(frame=of_frame, author="ada", correct_time=timestamp(START_NS))
        if isinstance(self.truth, str):
            said.label, task = self.truth, "image-classification"
        else:
            task = "object-detection"
            objects = [CorrectedObject(label=name, box=box_of(edges)) for name, edges in self.truth]
            said.objects.CopyFrom(CorrectedObjects(objects=objects))
        return f"corrections.{self.camera}.{of_frame.capture_time.ToNanoseconds()}.{task}", said.SerializeToString()


def classes(*labels: tuple[str, float]) -> Answer:
    """A classification, the best class first."""
    return Answer(classification=Classification(labels=[Label(name=name, score=score) for name, score in labels]))


def objects(*seen: tuple[str, float, tuple[float, float, float, float]]) -> Answer:
    """A detection: name, score, and the box's left, upper, right and lower edge."""
    found = [DetectedObject(label=Label(name=name, score=score), box=box_of(edges)) for name, score, edges in seen]
    return Answer(detection=Detection(objects=found))


def box_of(edges: tuple[float, float, float, float]) -> Box:
    return Box(x_min_px=edges[0], y_min_px=edges[1], x_max_px=edges[2], y_max_px=edges[3])
