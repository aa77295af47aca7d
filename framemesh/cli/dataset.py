"""`framemesh dataset`."""

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framemesh.cli.archived import await_archive
from framemesh.cli.bar import Bar
from framemesh.cli.lake import FIRST, LAST, Since, Until, lake_place
from framemesh.cli.services import check_installed, lake_of_mesh
from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir, open_client
from framemesh.cli.times import parse_time
from framemesh.errors import EXIT_INTERRUPTED, ConfigurationError
from framemesh.words import printable

if TYPE_CHECKING:  # a client may be installed without what it needs
    from framemesh.datasets.reports import DatasetReport

app = typer.Typer(no_args_is_help=True, help="Stored frames with labels, for training: docs/datasets.md.")

_NEEDED = ("duckdb", "pyarrow", "obstore", "pydantic", "structlog", "aiohttp")
_MIB = 1024**2
_SHOWN_CLASSES = 20
_UNSETTLED = timedelta(minutes=1)
"""How far the tables may be behind where no gateway can tell."""
_CHOOSES = {
    "camera", "since", "until", "label", "model", "min_score", "max_score", "disagrees_with", "query", "every",
    "labels", "task", "split", "group_seconds", "gap_seconds", "seed", "written_as",
}  # fmt: skip


@app.callback()
def dataset() -> None:
    """Make `export` a verb of its own, whatever others come."""


@app.command("export")
def export(
    context: typer.Context,
    out: Annotated[str, typer.Argument(help="A folder that isn't there yet, or lake://datasets/NAME/VERSION.")],
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera's frames; repeatable.")] = None,
    since: Since = FIRST,
    until: Until = LAST,
    label: Annotated[list[str] | None, typer.Option(help="Only frames with this label, in full; repeatable.")] = None,
    model: Annotated[str, typer.Option(help="The model whose answers label the frames, or choose them.")] = "",
    min_score: Annotated[float, typer.Option(min=0, max=1, help="The least score of its surest label.")] = 0.0,
    max_score: Annotated[float, typer.Option(min=0, max=1, help="The greatest score of its surest label.")] = 1.0,
    disagrees_with: Annotated[str, typer.Option(help="Only frames to which this model gave another label.")] = "",
    query: Annotated[
        str,
        typer.Option(help="SQL that chooses frames: it gives frame_id, and maybe label."),
    ] = "",
    every: Annotated[float, typer.Option(min=0, help="Of each camera at most one frame in so many seconds.")] = 0.0,
    labels: Annotated[
        str,
        typer.Option(
            help="Whose labels: none, results (the model's), corrections (people's), corrected (people's over the "
            "model's) or query. Without it: what --query gives, else corrected with --model, else corrections.",
            show_default=False,
        ),
    ] = "",
    task: Annotated[
        str, typer.Option(help="What the labels are for: image-classification or object-detection.")
    ] = "image-classification",
    split: Annotated[str, typer.Option(help="Shares of train, validation and test.")] = "0.8,0.1,0.1",
    group_seconds: Annotated[
        int, typer.Option(help="Frames of a camera within this time stay in one split: whole minutes.")
    ] = 60,
    gap_seconds: Annotated[
        float, typer.Option(help="Least time between frames of a camera in different splits; those between go.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Another number deals the groups out differently.")] = 0,
    written_as: Annotated[str, typer.Option("--format", help="imagefolder or webdataset.")] = "imagefolder",
    shard_mib: Annotated[int, typer.Option(min=1, help="Size of a WebDataset shard in MiB.")] = 256,
    recipe: Annotated[
        Path | None, typer.Option(help="Make again what this recipe.json made, or say what has changed.")
    ] = None,
    as_json: AsJson = False,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write stored frames with their labels as a dataset, split so that no neighbours are told apart.

    The folder has a recipe.json, from which --recipe makes the same again. A stopped export never looks whole.
    """
    check_installed(_NEEDED, "dataset", "run `pip install -e '.[datasets]'` in it")
    from framemesh.datasets.exporting import export as make  # noqa: PLC0415 - as checked
    from framemesh.datasets.reports import made, parse  # noqa: PLC0415

    place = lake_place(data_dir)
    if recipe is not None:
        given = sorted(name for name in _CHOOSES if _is_given(context, name))
        if given:
            raise typer.BadParameter(f"--recipe says all that chooses: leave out --{given[0].replace('_', '-')}")
        document = parse(_read(recipe), str(recipe))
    else:
        now = datetime.now(UTC)
        choose = {
            "cameras": tuple(camera or ()),
            "since": parse_time(since, now=now),
            "until": parse_time(until, now=now),
            "labels": tuple(label or ()),
            "model": model,
            "min_score": min_score,
            "max_score": max_score,
            "disagrees_with": disagrees_with,
            "query": query,
            "every_seconds": every,
        }
        groups = {"group_seconds": group_seconds, "gap_seconds": gap_seconds, "seed": seed}
        words = {
            "labels": labels or _usual_labels(choose),
            "task": task,
            "format": written_as,
            "choose": choose,
            "split": _shares(split) | groups,
        }
        document = made(words, as_of=_settled(address, data_dir, now))
    try:
        with Bar(out) as bar:
            report = make(out, document, place, tell=bar.show, shard_bytes=shard_mib * _MIB)
    except KeyboardInterrupt:
        left = "nothing of the dataset is left"
        if out.startswith("lake://"):
            left = f"{out} has no recipe.json, so it is not whole: the next export to there removes what is left"
        typer.echo(f"stopped; {left}", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _show(out, report, as_json=as_json)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _read(recipe: Path) -> bytes:
    try:
        return recipe.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"can't read {recipe}: {error.strerror}") from error


def _usual_labels(choose: dict[str, Any]) -> str:
    if choose["query"]:
        return "query"
    return "corrected" if choose["model"] else "corrections"


def _shares(text: str) -> dict[str, Any]:
    try:
        train, validation, test = map(float, text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} are no shares: write train, validation and test as 0.8,0.1,0.1") from None
    return {"train": train, "validation": validation, "test": test}


def _settled(address: str | None, data_dir: Path, now: datetime) -> datetime:
    """A time up to which the tables have everything: now, once a gateway says so; else a little earlier."""
    if not address and not lake_of_mesh(data_dir, os.environ):
        return now - _UNSETTLED
    with open_client(address, data_dir) as client:
        await_archive(client)
    return now


def _show(out: str, report: "DatasetReport", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(report), ensure_ascii=False))
        return
    table = Table("", *report.splits, box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    splits = report.splits.values()
    table.add_row("frames", *(f"{split.frames:,}" for split in splits))
    table.add_row("share", *(f"{split.frames / report.frames:.1%}" for split in splits))
    table.add_row("groups", *(f"{split.groups:,}" for split in splits))
    shown = report.classes[:_SHOWN_CLASSES]
    for name in shown:
        table.add_row(Text(printable(name)), *(f"{split.labels.get(name, 0):,}" for split in splits))
    console = Console()
    console.print(table)
    left_out = report.left_out
    for words in (
        f"and {len(report.classes) - len(shown):,} more classes" if len(shown) < len(report.classes) else "",
        f"{left_out.near_borders:,} frames left out between splits" if left_out.near_borders else "",
        f"{left_out.gone:,} frames left out that the lake has no more" if left_out.gone else "",
        f"{printable(out)}: {report.frames:,} frames, {report.digest}",
    ):
        if words:
            console.print(Text(words), soft_wrap=True)
