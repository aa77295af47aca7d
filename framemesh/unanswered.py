"""Which stored frames a model has yet to answer, found in the lake's tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from framemesh.query import LakeTables

# Partitions go by the frame's id, which may lie beside the capture time that a foreign camera tells.
_PAST = """
SELECT frame_id, object_key, capture_time, state, model_version
FROM (SELECT * FROM frames
      WHERE (len($cameras) = 0 OR list_contains($cameras, camera))
        AND date BETWEEN $since::DATE - 1 AND $until::DATE + 1 AND capture_time BETWEEN $since AND $until)
LEFT JOIN (SELECT frame_id, state, model_version FROM {answers}
           WHERE model = $model AND date BETWEEN $since::DATE - 1 AND $until::DATE + 1) USING (frame_id)
"""
_COUNTS = f"""
SELECT count(*), count(*) FILTER (state = 'succeeded'), count(*) FILTER (state = 'failed') FROM ({_PAST})
"""  # noqa: S608 - our own words
_LEFT = f"""
SELECT object_key FROM ({_PAST}) WHERE state IS NULL ORDER BY capture_time
"""  # noqa: S608
_LEFT_AGAIN = f"""
SELECT object_key FROM ({_PAST})
WHERE (state = 'succeeded' AND list_contains($versions, model_version)) IS NOT TRUE ORDER BY capture_time
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Past:
    """A model and a part of the stored frames.

    Attributes:
        model: Name of the model.
        cameras: Only frames of these; none means all.
        since: Taken at this time or later.
        until: Taken at this time or earlier.
        shadow: Whether the model is one, whose answers have a table of their own.
    """

    model: str
    cameras: Sequence[str]
    since: datetime
    until: datetime
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """How many frames there are, and what the model's newest answers to them are."""

    frames: int
    succeeded: int
    failed: int


def left(tables: LakeTables, past: Past, *, versions: Sequence[str] | None = None) -> list[str]:
    """Keys of the frames that the model has yet to answer, the oldest first.

    Args:
        tables: The lake's.
        past: Which model and frames.
        versions: Also those that it failed on, or that no version among these answered; none leaves them as they are.

    Raises:
        LakeUnavailableError: The lake can't be read now.
    """
    if versions is None:
        return [key for (key,) in tables.ask(_of(_LEFT, past), **_values(past)).rows]
    return [key for (key,) in tables.ask(_of(_LEFT_AGAIN, past), **_values(past), versions=list(versions)).rows]


def counts(tables: LakeTables, past: Past) -> Counts:
    """How far the model is.

    Raises:
        LakeUnavailableError: The lake can't be read now.
    """
    return Counts(*tables.ask(_of(_COUNTS, past), **_values(past)).rows[0])


def _of(statement: str, past: Past) -> str:
    return statement.replace("{answers}", "shadows" if past.shadow else "results")


def _values(past: Past) -> dict[str, object]:
    return {"model": past.model, "cameras": list(past.cameras), "since": past.since, "until": past.until}
