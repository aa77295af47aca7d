import pytest

from archiver.rows import frame_row, result_row
from framemesh.tables import FRAMES, RESULTS
from framemesh.v1.answer_pb2 import (
    Answer,
    AnswerError,
    AnswerState,
    Box,
    Depth,
    DetectedObject,
    Detection,
    Embedding,
    Label,
    Mask,
    ModelAnswer,
    Segment,
    Segmentation,
    Text,
)
from framemesh.v1.frame_pb2 import Frame, StoredFrame
from framemesh.v1.result_pb2 import Result
from tests.archiver.conftest import frame


def row_of(said: ModelAnswer) -> dict[str, object]:
    found = result_row(Result(frame=frame("gate", 7), answer=said).SerializeToString())
    assert found is not None
    assert set(found[1]) == set(RESULTS.columns.names)
    return found[1]


def succeeded(answer: Answer) -> dict[str, object]:
    return row_of(ModelAnswer(model="vit", state=AnswerState.ANSWER_STATE_SUCCEEDED, answer=answer))


def test_a_frame_is_a_row_in_the_partition_of_its_id() -> None:
    found = frame_row(StoredFrame(frame=frame("gate", 22)).SerializeToString())
    assert found is not None
    partition, row = found
    assert partition.prefix(FRAMES.partitions) == "camera=gate/date=2026-09-21/hour=15/"
    assert set(row) == set(FRAMES.columns.names)
    assert (row["frame_id"], row["size_bytes"], row["camera_sequence"]) == (frame("gate", 22).frame_id, 100_022, None)


def test_objects_are_labels_with_their_boxes_and_the_surest_is_the_rows_own() -> None:
    objects = [
        DetectedObject(label=Label(name="cat", score=0.5), box=Box(x_min_px=1, y_min_px=2, x_max_px=3, y_max_px=4)),
        DetectedObject(label=Label(name="dog", score=0.75), box=Box(x_max_px=9, y_max_px=9)),
    ]
    row = succeeded(Answer(detection=Detection(objects=objects)))
    assert (row["label"], row["score"]) == ("dog", 0.75)
    assert row["labels"] == [
        {"name": "cat", "score": 0.5, "x_min_px": 1, "y_min_px": 2, "x_max_px": 3, "y_max_px": 4},
        {"name": "dog", "score": 0.75, "x_min_px": 0, "y_min_px": 0, "x_max_px": 9, "y_max_px": 9},
    ]
    assert row["answer"] is None


@pytest.mark.parametrize(
    ("answer", "column", "value"),
    [
        (Answer(text=Text(text="a cat")), "text", "a cat"),
        (Answer(embedding=Embedding(values=[1, 2])), "embedding", [1.0, 2.0]),
        (Answer(detection=Detection()), "labels", []),
        (Answer(detection=Detection()), "label", None),
    ],
)
def test_each_kind_of_answer_has_its_column(answer: Answer, column: str, value: object) -> None:
    assert succeeded(answer)[column] == value


@pytest.mark.parametrize(
    "answer",
    [
        Answer(depth=Depth(png=b"png", minimum=1, maximum=2)),
        Answer(segmentation=Segmentation(segments=[Segment(label=Label(name="sky", score=1), mask=Mask(png=b"png"))])),
    ],
)
def test_what_no_column_holds_is_kept_whole(answer: Answer) -> None:
    assert Answer.FromString(succeeded(answer)["answer"]) == answer  # type: ignore[arg-type]


def test_a_failure_has_its_reason_and_no_answer() -> None:
    error = AnswerError(code=3, reason="INVALID_IMAGE", message="it is cut")
    row = row_of(ModelAnswer(model="vit", state=AnswerState.ANSWER_STATE_FAILED, error=error))
    assert (row["state"], row["error_reason"], row["error_message"]) == ("failed", "INVALID_IMAGE", "it is cut")
    assert (row["labels"], row["label"], row["inference_seconds"]) == ([], None, None)


@pytest.mark.parametrize("camera", ["", "Gate", "../gate", "a=b", "gate/x"])
def test_names_that_could_lead_out_of_a_partition_are_nobodys(camera: str) -> None:
    bad = Frame(frame_id=f"{camera}-1790000000000000000", camera=camera)
    assert frame_row(StoredFrame(frame=bad).SerializeToString()) is None
    assert result_row(Result(frame=frame("gate", 1), answer=ModelAnswer(model=camera)).SerializeToString()) is None


def test_an_id_of_another_camera_is_nobodys() -> None:
    assert (
        frame_row(StoredFrame(frame=Frame(frame_id="yard-1790000000000000000", camera="gate")).SerializeToString())
        is None
    )


def test_hours_have_two_digits() -> None:
    early = Frame(frame_id="gate-1790042400000000000", camera="gate")
    found = frame_row(StoredFrame(frame=early).SerializeToString())
    assert found is not None
    assert found[0].prefix(FRAMES.partitions) == "camera=gate/date=2026-09-22/hour=02/"
