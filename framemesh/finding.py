"""Stored frames by camera, time and what was seen in them, and all that was said of one: asked of the lake's tables."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from framemesh.corrections import CLASSIFICATION
from framemesh.frames import NANOSECONDS, FrameId
from framemesh.query import LakeTables, Rows
from framemesh.tables import FRAMES, RESULTS
from framemesh.times import EARLIEST, LATEST
from framemesh.v1.answer_pb2 import (
    Answer,
    AnswerError,
    AnswerState,
    Box,
    Classification,
    DetectedObject,
    Detection,
    Embedding,
    InferenceTiming,
    Label,
    ModelAnswer,
    Text,
)
from framemesh.v1.correction_pb2 import CorrectedObject, CorrectedObjects, Correction
from framemesh.v1.frame_pb2 import Frame, StoredFrame
from framemesh.v1.result_pb2 import Result

# Partitions go by the frame's id, which may lie beside the capture time that a foreign camera tells.
_FRAMES = """
SELECT capture_time, object_key, camera, width_px, height_px, size_bytes, frame_id FROM frames
WHERE (len($cameras) = 0 OR list_contains($cameras, camera))
  AND date BETWEEN $since::DATE - 1 AND $until::DATE + 1 AND capture_time BETWEEN $since AND $until
"""
_SEEN = """
SELECT seen.name AS label, seen.score AS score, object_key, capture_time, camera, model, frame_id
FROM (SELECT *, unnest(labels) AS seen FROM results
      WHERE (len($cameras) = 0 OR list_contains($cameras, camera))
        AND (len($models) = 0 OR list_contains($models, model))
        AND date BETWEEN $since::DATE - 1 AND $until::DATE + 1 AND capture_time BETWEEN $since AND $until)
WHERE contains(lower(seen.name), lower($label)) AND seen.score >= $min_score::FLOAT
"""
_NEWEST_FRAMES = f"SELECT * EXCLUDE (frame_id) FROM ({_FRAMES}) ORDER BY capture_time DESC LIMIT $limit"  # noqa: S608
_NEWEST_SEEN = f"""
SELECT * EXCLUDE (frame_id) FROM ({_SEEN}) ORDER BY capture_time DESC, score DESC LIMIT $limit
"""  # noqa: S608 - our own words

_ID_NS = "split_part(frame_id, '-', -1)::BIGINT AS id_ns"
_PAGE = "WHERE (id_ns, frame_id) < ($before_ns, $before_id) ORDER BY id_ns DESC, frame_id DESC LIMIT $limit"
_PAGE_OF_FRAMES = f"SELECT *, [] AS seen FROM (SELECT *, {_ID_NS} FROM ({_FRAMES})) {_PAGE}"  # noqa: S608
_PAGE_OF_SEEN = f"""
SELECT * FROM (SELECT frame_id, {_ID_NS}, any_value(object_key) AS object_key, any_value(capture_time) AS capture_time,
                      max_by((label, score, model), score, 8) AS seen
               FROM ({_SEEN}) GROUP BY frame_id)
{_PAGE}
"""  # noqa: S608
# Not the view: a condition on the time would not get through its window to the files.
_SIGHTS = """
SELECT frame_id, list((said[1], said[2], model) ORDER BY said[2] DESC) AS seen
FROM (SELECT frame_id, model, max_by((label, score), answer_time) AS said FROM results_files
      WHERE capture_time BETWEEN $since AND $until AND list_contains($ids, frame_id) GROUP BY frame_id, model)
WHERE said[1] IS NOT NULL GROUP BY frame_id
"""
_HERE = "WHERE frame_id = $frame_id AND camera = $camera AND date = $date AND hour = $hour"
_FRAME = f"SELECT * FROM frames {_HERE}"  # noqa: S608 - our own words
_CORRECTIONS = f"SELECT * FROM corrections {_HERE}"  # noqa: S608
_ANSWERS = "SELECT * FROM results WHERE frame_id = $frame_id AND date = $date AND hour = $hour ORDER BY model"

_RECENT = timedelta(days=1)
"""The newest are mostly there: a year of frames is read only where these are too few."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which frames.

    Attributes:
        cameras: Only of these; none means all.
        since: Taken at this time or later.
        until: Taken at this time or earlier.
        label: Only those in which a model saw this: a part of the label, in any case.
        min_score: The least score with which it was seen, from 0 to 1.
        models: Only what these saw; none means all.
    """

    cameras: Sequence[str] = ()
    since: datetime = EARLIEST
    until: datetime = LATEST
    label: str = ""
    min_score: float = 0.0
    models: Sequence[str] = ()

    @property
    def by_sight(self) -> bool:
        """Whether it counts what was seen in them."""
        return bool(self.label or self.min_score or self.models)

    def values(self) -> dict[str, object]:
        """For the statements."""
        values: dict[str, object] = {"cameras": list(self.cameras), "since": self.since, "until": self.until}
        if self.by_sight:
            values |= {"label": self.label, "min_score": self.min_score, "models": list(self.models)}
        return values


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model saw in a frame."""

    label: str
    score: float
    model: str


@dataclass(frozen=True, slots=True)
class Found:
    """A stored frame.

    Attributes:
        frame_id: Its id.
        object_key: Its key in the bucket of frames.
        capture_time: When the picture was taken.
        seen: What is in it of what was asked for, the surest first; where that was nothing, the surest of each model.
    """

    frame_id: FrameId
    object_key: str
    capture_time: datetime
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the frames.

    Attributes:
        frames: The newest by their ids first.
        reached: What lies before this hour was not looked at, for want of time; none where the page is full, or where
            there are no more.
    """

    frames: tuple[Found, ...]
    reached: datetime | None = None


def newest(tables: LakeTables, wanted: Wanted, *, limit: int, now: datetime) -> Rows:
    """The newest frames, a row each; by sight, a row for each thing that was seen, the surest of a frame first.

    Raises:
        FrameNotFoundError: There are no frames of one of the cameras.
        LakeUnavailableError: The lake can't be read now.
    """
    if not wanted.by_sight:  # results outlive frames
        tables.check_cameras(wanted.cameras)
    for since in sorted({wanted.since, max(wanted.since, now - _RECENT)}, reverse=True):
        values = wanted.values() | {"since": since, "limit": limit}
        found = tables.ask(_NEWEST_SEEN if wanted.by_sight else _NEWEST_FRAMES, **values)
        if len(found.rows) == limit:
            break
    return found


def page(tables: LakeTables, wanted: Wanted, *, limit: int, seconds: float, before: FrameId | None = None) -> Page:
    """Some frames, the newest first. Reads the newest hour's files, then twice as many at a time, while it must.

    Args:
        tables: The lake's.
        wanted: Which frames.
        limit: How many at most.
        seconds: No further files are looked at after this long.
        before: The last frame of the page before.

    Raises:
        DeadlineError: Somebody interrupted it.
        LakeUnavailableError: The lake can't be read now.
    """
    deadline = time.monotonic() + seconds
    before_ns = before.captured_ns if before else _ns(LATEST)
    earliest, latest = wanted.since - _RECENT - timedelta(hours=1), wanted.until + _RECENT
    table = RESULTS if wanted.by_sight else FRAMES
    hours = [hour for hour in tables.hours(table) if earliest < hour <= latest and _ns(hour) < before_ns]
    sql = _PAGE_OF_SEEN if wanted.by_sight else _PAGE_OF_FRAMES
    values = wanted.values() | {"before_ns": before_ns, "before_id": str(before or "")}
    rows: list[dict[str, Any]] = []
    step = 1
    reached = None
    while hours and len(rows) < limit:
        some, hours, step = hours[-step:], hours[:-step], step * 2
        with tables.between(some[0], some[-1]):
            rows += tables.ask(sql, **values, limit=limit - len(rows)).dicts()
        if hours and len(rows) < limit and time.monotonic() > deadline:
            reached = some[0]
            break
    seen = {} if wanted.by_sight else _sights(tables, rows)
    return Page(tuple(_found(row, seen.get(row["frame_id"], row["seen"])) for row in rows), reached)


def all_before(hour: datetime) -> FrameId:
    """What comes after it on a `page` are the frames of before an hour."""
    return FrameId("0", _ns(hour))


def frame(tables: LakeTables, frame_id: FrameId) -> StoredFrame | None:
    """What the lake says of a frame; none where its tables don't have it (yet, or any more).

    Raises:
        LakeUnavailableError: The lake can't be read now.
    """
    hour = _hour(frame_id)
    with tables.between(hour, hour):
        rows = tables.ask(_FRAME, camera=frame_id.camera, **_place(frame_id)).dicts()
    return next((_stored(row) for row in rows), None)


def answers(tables: LakeTables, frame_id: FrameId) -> list[Result]:
    """What each model said last of a frame, by model.

    The columns hold no more than they do: of the timing only the inference, of a label no index.

    Raises:
        LakeUnavailableError: The lake can't be read now.
    """
    hour = _hour(frame_id)
    with tables.between(hour, hour):
        return [_result(row) for row in tables.ask(_ANSWERS, **_place(frame_id)).dicts()]


def corrections(tables: LakeTables, frame_id: FrameId) -> list[Correction]:
    """What counts of what people said of a frame, one for each task.

    Raises:
        LakeUnavailableError: The lake can't be read now.
    """
    hour = _hour(frame_id)
    with tables.between(hour, hour):
        rows = tables.ask(_CORRECTIONS, camera=frame_id.camera, **_place(frame_id)).dicts()
    return [_correction(row) for row in rows]


def _place(frame_id: FrameId) -> dict[str, object]:
    hour = _hour(frame_id)
    return {"frame_id": str(frame_id), "date": hour.date(), "hour": hour.hour}


def _ns(time: datetime) -> int:
    return int(time.timestamp()) * NANOSECONDS


def _time(captured_ns: int) -> datetime:
    return datetime.fromtimestamp(captured_ns // NANOSECONDS, UTC)


def _hour(frame_id: FrameId) -> datetime:
    return _time(frame_id.captured_ns).replace(minute=0, second=0)


def _sights(tables: LakeTables, frames: Sequence[dict[str, Any]]) -> dict[str, list[tuple[str, float, str]]]:
    """What each model is surest of in some frames, by frame."""
    if not frames:
        return {}
    times = [row["capture_time"] for row in frames]
    hours = [_time(row["id_ns"]).replace(minute=0, second=0) for row in frames]
    ids = [row["frame_id"] for row in frames]
    with tables.between(min(hours), max(hours)):
        return dict(tables.ask(_SIGHTS, since=min(times), until=max(times), ids=ids).rows)


def _found(row: dict[str, Any], seen: Sequence[tuple[str, float, str]]) -> Found:
    camera, _, captured_ns = row["frame_id"].rpartition("-")
    frame_id = FrameId(camera, int(captured_ns))
    return Found(frame_id, row["object_key"], row["capture_time"], tuple(Seen(*one) for one in seen))


def _stored(row: dict[str, Any]) -> StoredFrame:
    frame = Frame(
        frame_id=row["frame_id"],
        camera=row["camera"],
        capture_time=row["capture_time"],
        size_bytes=row["size_bytes"],
        width_px=row["width_px"],
        height_px=row["height_px"],
        content_type=row["content_type"],
        camera_sequence=row["camera_sequence"],
        object_key=row["object_key"],
    )
    return StoredFrame(frame=frame, store_time=row["store_time"])


def _result(row: dict[str, Any]) -> Result:
    said = ModelAnswer(model=row["model"], model_version=row["model_version"] or "")
    if row["state"] == "succeeded":
        said.state = AnswerState.ANSWER_STATE_SUCCEEDED
        said.answer.CopyFrom(_answer(row))
        said.timing.CopyFrom(InferenceTiming(inference_duration=_duration(row["inference_seconds"])))
    else:
        said.state = AnswerState.ANSWER_STATE_FAILED
        said.error.CopyFrom(AnswerError(reason=row["error_reason"], message=row["error_message"]))
    return Result(
        frame=_named(row),
        answer=said,
        answer_time=row["answer_time"],
        latency=_duration(row["latency_seconds"]),
        skipped_frame_count=row["skipped"],
        replayed=bool(row["replayed"]),
    )


def _correction(row: dict[str, Any]) -> Correction:
    said = Correction(frame=_named(row), model=row["model"], author=row["author"], correct_time=row["correct_time"])
    if row["task"] == CLASSIFICATION:
        said.label = row["label"]
    else:
        objects = [CorrectedObject(label=one["name"], box=_box(one)) for one in row["objects"]]
        said.objects.CopyFrom(CorrectedObjects(objects=objects))
    return said


def _named(row: dict[str, Any]) -> Frame:
    """The frame that something is said of, as far as the row tells it."""
    return Frame(
        frame_id=row["frame_id"],
        camera=row["camera"],
        capture_time=row["capture_time"],
        object_key=row["object_key"],
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * NANOSECONDS))
    return duration


def _answer(row: dict[str, Any]) -> Answer:
    if row["answer"] is not None:
        return Answer.FromString(row["answer"])
    if row["embedding"] is not None:
        return Answer(embedding=Embedding(values=row["embedding"]))
    if row["text"] is not None:
        return Answer(text=Text(text=row["text"]))
    seen = row["labels"]
    if seen and seen[0]["x_min_px"] is None:
        return Answer(classification=Classification(labels=map(_label, seen)))
    return Answer(detection=Detection(objects=[DetectedObject(label=_label(one), box=_box(one)) for one in seen]))


def _label(seen: dict[str, Any]) -> Label:
    return Label(name=seen["name"], score=seen["score"])


def _box(seen: dict[str, Any]) -> Box:
    return Box(**{edge: seen[edge] for edge in ("x_min_px", "y_min_px", "x_max_px", "y_max_px")})
