"""Frames found in the lake's tables, page by page, and what was said of one."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Timer

import pytest
from google.protobuf.duration_pb2 import Duration

from archiver.app import archiver
from archiver.settings import ArchiverSettings
from framemesh.bus import Bus, corrections
from framemesh.errors import DeadlineError, InvalidRequestError
from framemesh.finding import Page, Seen, Wanted, all_before, answers, frame, page
from framemesh.finding import corrections as said_by_people
from framemesh.frames import FrameId, timestamp
from framemesh.query import LakePlace, LakeTables, tables
from framemesh.v1.answer_pb2 import (
    Answer,
    AnswerError,
    AnswerState,
    Box,
    Classification,
    Depth,
    DetectedObject,
    Detection,
    Embedding,
    InferenceTiming,
    Label,
    ModelAnswer,
    Text,
)
from framemesh.v1.correction_pb2 import CorrectedObject, CorrectedObjects, Correction
from framemesh.v1.frame_pb2 import Frame
from framemesh.v1.result_pb2 import Result
from tests.archiver import conftest as archived
from tests.archiver.conftest import HOUR_NS, START_NS, settings, store

__all__ = ["settings"]

COUNT = 12
LONG = 60.0
ANSWERS = {
    "classifier": Answer(classification=Classification(labels=[Label(name="Egyptian cat", score=0.75)])),
    "depth": Answer(depth=Depth(png=b"png", minimum=1, maximum=2)),
    "detector": Answer(
        detection=Detection(
            objects=[
                DetectedObject(
                    label=Label(name="cat", score=0.5), box=Box(x_min_px=1, y_min_px=2, x_max_px=3, y_max_px=4)
                )
            ]
        )
    ),
    "empty-detector": Answer(detection=Detection()),
    "embedder": Answer(embedding=Embedding(values=[0.5, 0.25])),
    "writer": Answer(text=Text(text="a cat on a mat")),
}

BOX = Box(x_min_px=1, y_min_px=2, x_max_px=3, y_max_px=4)
UNSURE, SURE = (
    Correction(frame=archived.frame("yard", 0), label=label, model="vit", author="ann", correct_time=timestamp(now_ns))
    for now_ns, label in ((START_NS, "lynx"), (START_NS + 1_000_000, "cat"))
)
BOXED = Correction(
    frame=archived.frame("yard", 0),
    objects=CorrectedObjects(objects=[CorrectedObject(label="cat", box=BOX)]),
    correct_time=timestamp(START_NS),
)
GONE = Correction(frame=archived.frame("gate", 0), label="", removed=True, correct_time=timestamp(START_NS))


@pytest.fixture(scope="module")
async def place(settings: ArchiverSettings, bus: Bus) -> LakePlace:
    """Two cameras' frames of three hours each, cats in the one's, and every kind of answer to its first."""
    async with archiver(settings):
        for number in range(COUNT):
            for camera in ("gate", "yard"):
                await store(bus, camera, number)
            await archived.answer(bus, "vit", "gate", number, label="Egyptian cat", score=number / 100)
        for model, answer in ANSWERS.items():
            timing = InferenceTiming(inference_duration=Duration(nanos=15_000_000))
            succeeded = AnswerState.ANSWER_STATE_SUCCEEDED
            said = ModelAnswer(model=model, model_version="v1", state=succeeded, answer=answer, timing=timing)
            await say(bus, said)
        for word in (UNSURE, SURE, BOXED, GONE):
            await bus.publish(corrections.subject(word), word.SerializeToString(), {}, timeout=30)
        error = AnswerError(reason="SERVER_LOST", message="it went away")
        await say(bus, ModelAnswer(model="broken", state=AnswerState.ANSWER_STATE_FAILED, error=error))
    return LakePlace(
        settings.s3_endpoint, settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value()
    )


async def say(bus: Bus, said: ModelAnswer) -> None:
    result = Result(
        frame=archived.frame("yard", 0),
        answer=said,
        answer_time=timestamp(START_NS),
        latency=Duration(nanos=500_000_000),
    )
    await bus.publish(f"results.{said.model}.yard", result.SerializeToString(), {}, timeout=30)


@pytest.fixture
def lake(place: LakePlace) -> Iterator[LakeTables]:
    with tables(place) as lake:
        yield lake


def ids(found: Page) -> list[FrameId]:
    return [one.frame_id for one in found.frames]


@pytest.mark.parametrize("limit", [1, 5, 100])
def test_pages_have_every_frame_once_the_newest_first(lake: LakeTables, limit: int) -> None:
    found: list[FrameId] = []
    while more := ids(page(lake, Wanted(), limit=limit, seconds=LONG, before=found[-1] if found else None)):
        found += more
    everything = [FrameId(row[0], row[1]) for row in lake.ask(
        "SELECT camera, split_part(frame_id, '-', -1)::BIGINT AS ns FROM frames ORDER BY ns DESC, camera DESC"
    ).rows]  # fmt: skip
    assert found == everything
    assert len(found) == 2 * COUNT


def test_frames_are_found_by_camera_time_and_sight_and_tell_what_was_seen(lake: LakeTables) -> None:
    assert {one.camera for one in ids(page(lake, Wanted(["yard"]), limit=100, seconds=LONG))} == {"yard"}
    hour = datetime(2026, 9, 21, 15, tzinfo=UTC)
    wanted = Wanted(since=hour, until=hour + timedelta(hours=1))
    assert len(ids(page(lake, wanted, limit=100, seconds=LONG))) == 2 * COUNT // 3
    seen = page(lake, Wanted(label="CAT", min_score=0.05, models=["vit"]), limit=100, seconds=LONG).frames
    assert [one.frame_id.camera for one in seen] == ["gate"] * (COUNT - 5)
    assert all(one.seen == (Seen("Egyptian cat", one.seen[0].score, "vit"),) for one in seen)
    assert page(lake, Wanted(label="cat'; DROP VIEW frames; --"), limit=100, seconds=LONG) == Page(())


def test_frames_tell_what_each_model_is_surest_of(lake: LakeTables) -> None:
    found = {one.frame_id: one.seen for one in page(lake, Wanted(), limit=100, seconds=LONG).frames}
    first = {camera: FrameId.parse(archived.frame(camera, 0).frame_id) for camera in ("gate", "yard")}
    assert [(seen.label, seen.model) for seen in found[first["yard"]]] == [  # type: ignore[index]
        ("Egyptian cat", "classifier"),
        ("cat", "detector"),
    ]
    assert [seen.label for seen in found[first["gate"]]] == ["dog"]  # type: ignore[index]


def test_a_search_that_takes_long_tells_how_far_it_got(lake: LakeTables) -> None:
    found = page(lake, Wanted(label="no such thing"), limit=10, seconds=0)
    assert found == Page((), reached=datetime(2026, 9, 21, 16, tzinfo=UTC))
    assert found.reached
    found = page(lake, Wanted(label="no such thing"), limit=10, seconds=0, before=all_before(found.reached))
    assert found == Page((), reached=datetime(2026, 9, 21, 15, tzinfo=UTC))
    assert found.reached
    found = page(lake, Wanted(label="cat"), limit=10, seconds=0, before=all_before(found.reached))
    assert {one.frame_id.captured_ns < START_NS + HOUR_NS for one in found.frames} == {True}
    older = page(lake, Wanted(label="no such thing", until=datetime(2026, 9, 20, tzinfo=UTC)), limit=10, seconds=0)
    assert older == Page(())


def test_a_frame_comes_with_each_models_answer_as_it_was(lake: LakeTables) -> None:
    frame_id = FrameId.parse(archived.frame("yard", 0).frame_id)
    assert frame_id
    stored = frame(lake, frame_id)
    assert stored
    assert stored.frame == archived.frame("yard", 0)
    said = {result.answer.model: result for result in answers(lake, frame_id)}
    assert said.keys() == {*ANSWERS, "broken"}
    assert {model: result.answer.answer for model, result in said.items() if model != "broken"} == ANSWERS
    assert said["broken"].answer.error.reason == "SERVER_LOST"
    assert said["detector"].answer.timing.inference_duration.ToMilliseconds() == 15
    assert said["detector"].latency.ToMilliseconds() == 500
    assert frame(lake, FrameId("attic", frame_id.captured_ns)) is None


def test_a_frame_comes_with_what_counts_of_what_people_said(lake: LakeTables) -> None:
    ids = {camera: FrameId(camera, START_NS) for camera in ("gate", "yard")}
    found = {word.WhichOneof("truth"): word for word in said_by_people(lake, ids["yard"])}
    assert found == {"label": _kept(SURE), "objects": _kept(BOXED)}
    assert said_by_people(lake, ids["gate"]) == []


def _kept(said: Correction) -> Correction:
    """What the columns hold of it."""
    kept = Correction()
    kept.CopyFrom(said)
    named = said.frame
    kept.frame.CopyFrom(
        Frame(
            frame_id=named.frame_id, camera=named.camera, capture_time=named.capture_time, object_key=named.object_key
        )
    )
    return kept


def test_an_interrupted_query_ends_and_so_does_the_next(lake: LakeTables) -> None:
    timer = Timer(0.3, lake.interrupt)
    timer.start()
    with pytest.raises(DeadlineError, match="ask for less"):
        lake.ask("SELECT count(*) FROM range(1000000000000) a, range(1000000) b")
    timer.join()
    with pytest.raises(DeadlineError):
        lake.ask("SELECT 1")


def test_a_query_that_needs_more_memory_than_it_may_fails(place: LakePlace) -> None:
    with tables(place, memory_bytes=64 << 20) as lake, pytest.raises(InvalidRequestError, match="more memory than"):
        lake.ask("SELECT list(range) FROM range(100000000)")
