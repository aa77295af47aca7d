"""`framemesh frames`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from framemesh.cli.lake import FIRST, LAST, Since, Until, lake_tables
from framemesh.cli.rows import show
from framemesh.cli.target import DEFAULT_DATA_DIR, AsJson, DataDir
from framemesh.cli.times import parse_time

# Partitions go by the frame's id, which may lie beside the capture time that a foreign camera tells.
_FRAMES = """
SELECT capture_time, object_key, camera, width_px, height_px, size_bytes FROM frames
WHERE (len($cameras) = 0 OR list_contains($cameras, camera))
  AND date BETWEEN $since::DATE - 1 AND $until::DATE + 1 AND capture_time BETWEEN $since AND $until
ORDER BY capture_time DESC LIMIT $limit
"""
_SEEN = """
SELECT seen.name AS label, seen.score AS score, object_key, capture_time, camera, model
FROM (SELECT *, unnest(labels) AS seen FROM results
      WHERE (len($cameras) = 0 OR list_contains($cameras, camera))
        AND (len($models) = 0 OR list_contains($models, model))
        AND date BETWEEN $since::DATE - 1 AND $until::DATE + 1 AND capture_time BETWEEN $since AND $until)
WHERE contains(lower(seen.name), lower($label)) AND seen.score >= $min_score::FLOAT
ORDER BY capture_time DESC, score DESC LIMIT $limit
"""

_RECENT = timedelta(days=1)
"""The newest are mostly there: a year of frames is read only where these are too few."""


def frames(
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera; repeatable.")] = None,
    since: Since = FIRST,
    until: Until = LAST,
    label: Annotated[
        str, typer.Option(help="Only where a model saw this: a part of the label, in any case.", show_default=False)
    ] = "",
    min_score: Annotated[float, typer.Option(min=0, max=1, help="With --label: the least score.")] = 0.0,
    model: Annotated[list[str] | None, typer.Option(help="With --label: only what this model saw; repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")] = 100,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Find stored frames by camera, by time and by what was seen in them."""
    if (model or min_score) and not label:
        raise typer.BadParameter("--model and --min-score say more of a --label: name one")
    now = datetime.now(UTC)
    first = parse_time(since, now=now)
    asked = {"cameras": camera or [], "until": parse_time(until, now=now), "limit": limit}
    if label:
        asked |= {"label": label, "min_score": min_score, "models": model or []}
    with lake_tables(data_dir) as tables:
        if not label:  # results outlive frames
            tables.check_cameras(camera or [])
        for earliest in sorted({first, max(first, now - _RECENT)}, reverse=True):
            found = tables.ask(_SEEN if label else _FRAMES, since=earliest, **asked)
            if len(found.rows) == limit:
                break
        show(found, as_json=as_json, least=found.columns.index("object_key") + 1)
