"""Pairs of answers to the same frames, hour by hour out of the lake's tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from framemesh.comparing.answers import Said, task_of
from framemesh.comparing.comparison import Side, Task
from framemesh.errors import ModelNotFoundError
from framemesh.query import LakeTables

_TICKETS = 1_000_000
_TASKS = {Task.CLASSIFICATION: "image-classification", Task.DETECTION: "object-detection"}
"""The tasks that people correct, in the table's words."""

# All rows, and not the views: of one model the older version's answers are wanted too.
_ANSWERS = "(SELECT *, false AS shadow FROM results_files UNION ALL SELECT *, true AS shadow FROM shadows_files)"
# Partitions go by the frame's id, which may lie beside the capture time that a foreign camera tells.
_NEAR = "date BETWEEN $since::DATE - 1 AND $until::DATE + 1"
_HOURS = f"SELECT DISTINCT date, hour FROM {_ANSWERS} WHERE list_contains($models, model) AND {_NEAR} ORDER BY ALL"  # noqa: S608 - our own words, here and below


def _newest(side: str, columns: str) -> str:
    """A side's newest answer to each frame of an hour, of one version where one is asked for."""
    return f"""
    SELECT {columns} FROM {_ANSWERS}
    WHERE model = $model_{side} AND date = $date AND hour = $hour AND capture_time BETWEEN $since AND $until
      AND (len($cameras) = 0 OR list_contains($cameras, camera))
      AND starts_with(coalesce(model_version, ''), $version_{side})
    QUALIFY row_number() OVER (PARTITION BY frame_id ORDER BY answer_time DESC) = 1
    """  # noqa: S608


_STATE = "frame_id, state"
_COVERAGE = f"""
SELECT count(*) FILTER (a.state = 'succeeded'), count(*) FILTER (a.state = 'failed'),
       count(*) FILTER (b.state = 'succeeded'), count(*) FILTER (b.state = 'failed'),
       count(*) FILTER (a.state = 'succeeded' AND b.state = 'succeeded')
FROM ({_newest("a", _STATE)}) a FULL JOIN ({_newest("b", _STATE)}) b USING (frame_id)
"""  # noqa: S608
_SIDE = """{0}.label, {0}.score, {0}.labels, {0}.text, {0}.embedding, {0}.answer, coalesce({0}.model_version, ''),
       {0}.shadow, {0}.latency_seconds, {0}.inference_seconds,
       CASE WHEN {0}.replayed THEN NULL ELSE epoch({0}.answer_time) - epoch({0}.capture_time) END"""
_PAIRS = f"""
SELECT frame_id, a.camera, a.capture_time, a.object_key, c.frame_id IS NOT NULL, c.label, c.objects,
       {_SIDE.format("a")}, {_SIDE.format("b")}
FROM ({_newest("a", "*")}) a JOIN ({_newest("b", "*")}) b USING (frame_id)
LEFT JOIN (SELECT frame_id, label, objects FROM corrections
           WHERE date = $date AND hour = $hour AND task = $task) c USING (frame_id)
WHERE a.state = 'succeeded' AND b.state = 'succeeded' AND md5_number_lower(frame_id) % {_TICKETS} < $tickets
ORDER BY a.camera, a.capture_time, frame_id
"""  # noqa: S608


_INFORMATIVE = f"""
SELECT label, score, labels, text, embedding, answer FROM {_ANSWERS}
WHERE model = $model AND starts_with(coalesce(model_version, ''), $version) AND date = $date AND hour = $hour
  AND state = 'succeeded' AND (len(labels) > 0 OR text IS NOT NULL OR embedding IS NOT NULL OR answer IS NOT NULL)
LIMIT 1
"""  # noqa: S608


class Hour(NamedTuple):
    """One hour of UTC, by the frames' ids."""

    date: date
    hour: int


class Coverage(NamedTuple):
    """How many frames each side answered and failed on, and how many both answered."""

    answered_a: int = 0
    failed_a: int = 0
    answered_b: int = 0
    failed_b: int = 0
    both: int = 0

    def plus(self, other: "Coverage") -> "Coverage":
        """Both together."""
        return Coverage(*(one + another for one, another in zip(self, other, strict=True)))


class Answered(NamedTuple):
    """One side's answer to a frame, and what is known of how it came.

    Attributes:
        said: What it says.
        version: Which weights; empty where that isn't known.
        shadow: Whether a shadow gave it.
        latency_seconds: From sending the frame until the answer came.
        inference_seconds: Of that, running the model, on the whole batch.
        staleness_seconds: The frame's age then; none where a replay asked.
    """

    said: Said
    version: str
    shadow: bool
    latency_seconds: float
    inference_seconds: float | None
    staleness_seconds: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """A frame that both sides answered; `truth` is what people say that it shows, none where nobody did."""

    frame_id: str
    camera: str
    capture_time: datetime
    object_key: str
    truth: Said | None
    a: Answered
    b: Answered


def answering(lake: LakeTables) -> list[str]:
    """The models that have answered, as shadows or not."""
    return sorted({*lake.models, *lake.shadows})


@dataclass(frozen=True, slots=True)
class Pairs:
    """The answers of two sides in a part of the lake.

    Attributes:
        lake: The lake's tables.
        a: One side.
        b: The other.
        cameras: Only frames of these; none means all.
        since: Taken at this time or later.
        until: Taken at this time or earlier.
    """

    lake: LakeTables
    a: Side
    b: Side
    cameras: Sequence[str]
    since: datetime
    until: datetime

    def check(self) -> None:
        """Pass where the lake has answers of both models.

        Raises:
            ModelNotFoundError: It has none of one; the message names the models that it has answers of.
        """
        known = answering(self.lake)
        for side in (self.a, self.b):
            if side.model not in known:
                raise ModelNotFoundError(
                    f"the lake has no answers of model {side.model!r}; it has those of: {', '.join(known) or 'none'}"
                )

    def hours(self) -> list[Hour]:
        """The hours in which either model answered anything, the oldest first."""
        found = self.lake.ask(_HOURS, models=[self.a.model, self.b.model], since=self.since, until=self.until)
        return [Hour(*row) for row in found.rows]

    def coverage(self, hour: Hour) -> Coverage:
        """How many frames of an hour the sides answered."""
        return Coverage(*self.lake.ask(_COVERAGE, **self._values(hour)).rows[0])

    def task(self, side: Side, hour: Hour) -> Task | None:
        """What a side answers in an hour; none where it says nothing that tells."""
        for row in self.lake.ask(_INFORMATIVE, model=side.model, version=side.version, **hour._asdict()).rows:
            return task_of(Said(*row))
        return None

    def of(self, hour: Hour, task: Task, *, share: float = 1.0) -> Iterator[Pair]:
        """The pairs of an hour by camera and time, or an even share of them: which frames those are never changes."""
        values = self._values(hour) | {"task": _TASKS.get(task, ""), "tickets": round(share * _TICKETS)}
        for row in self.lake.stream(_PAIRS, **values):
            frame_id, camera, capture_time, object_key, is_corrected, label, objects, *sides = row
            truth = _true(label, objects or ()) if is_corrected else None
            half = len(sides) // 2
            yield Pair(
                frame_id, camera, capture_time, object_key, truth, _answered(sides[:half]), _answered(sides[half:])
            )

    def _values(self, hour: Hour) -> dict[str, object]:
        return {
            "model_a": self.a.model, "version_a": self.a.version, "model_b": self.b.model, "version_b": self.b.version,
            "date": hour.date, "hour": hour.hour, "cameras": list(self.cameras), "since": self.since,
            "until": self.until,
        }  # fmt: skip


def _answered(values: Sequence[Any]) -> Answered:
    return Answered(Said(*values[:6]), *values[6:])


def _true(label: str | None, objects: Sequence[Mapping[str, Any]]) -> Said:
    """What people say, as an answer that is sure of itself."""
    if label is not None:
        return Said(label, None, [{"name": label, "score": 1.0, "x_min_px": None}], None, None, None)
    return Said(None, None, [{**found, "score": 1.0} for found in objects], None, None, None)
