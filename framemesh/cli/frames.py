"""`framemesh frames`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from framemesh.cli.lake import FIRST, LAST, Since, Until, lake_tables
from framemesh.cli.rows import show
from framemesh.cli.target import DEFAULT_DATA_DIR, AsJson, DataDir
from framemesh.cli.times import parse_time


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
    times = parse_time(since, now=now), parse_time(until, now=now)
    with lake_tables(data_dir) as tables:
        from framemesh.finding import Wanted, newest  # noqa: PLC0415 - `lake_tables` says what to install for it

        wanted = Wanted(camera or (), *times, label, min_score, model or ())
        found = newest(tables, wanted, limit=limit, now=now)
        show(found, as_json=as_json, least=found.columns.index("object_key") + 1)
