"""`framemesh compare`."""

import json
import math
import urllib.request
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framemesh.cli.bar import Bar
from framemesh.cli.lake import FIRST, LAST, Since, Until, lake_tables
from framemesh.cli.services import check_installed
from framemesh.cli.target import DEFAULT_DATA_DIR, DataDir
from framemesh.cli.times import parse_time
from framemesh.errors import EXIT_INTERRUPTED, ConfigurationError
from framemesh.mesh.joining import read_state
from framemesh.words import printable

if TYPE_CHECKING:  # it needs what a client may be installed without
    from framemesh.comparing import Comparison
    from framemesh.comparing.comparison import SideFacts
    from framemesh.query import LakeTables

_ROWS = 10
_PAGE_SECONDS = 2.0
_SUFFIXES = {".html", ".md"}
_NEEDED = ("duckdb", "pyarrow", "numpy", "scipy", "PIL", "jinja2", "prometheus_client")


def compare(
    a: Annotated[str, typer.Argument(help="A model, or one version of it as MODEL@VERSION.", show_default=False)],
    b: Annotated[str, typer.Argument(help="Another model, or another version.", show_default=False)],
    since: Since = FIRST,
    until: Until = LAST,
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera's frames; repeatable.")] = None,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Objects of a lower score count as not seen.")] = 0.0,
    frames: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Compare about as many frames, evenly drawn; without it all, or 2,000 where answers are pictures, "
            "points or vectors.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, max=1000, help="How many disagreements to list.")] = 20,
    report: Annotated[
        Path | None,
        typer.Option(help="Also write a page with pictures: NAME.html or NAME.md.", show_default=False),
    ] = None,
    console_url: Annotated[
        str,
        typer.Option(
            "--console",
            envvar="FRAMEMESH_CONSOLE_URL",
            help="Where the console is, which frames in the report link to; without it, that of the mesh on the data "
            "directory.",
            show_default=False,
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="All of it as one JSON document, for programs.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Compare two models over the stored frames that both have answered.

    How often they agree and where they don't, by class and by camera; their latency side by side; and who is right,
    where people have corrected answers. docs/comparing.md says how it is counted.
    """
    check_installed(_NEEDED, "compare", "run `pip install -e '.[compare]'` in it")
    if report is not None and report.suffix not in _SUFFIXES:
        raise typer.BadParameter(f"{report.name!r} is no report's name: end it in .html or .md")
    if report is not None and not report.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {str(report.parent)!r} to write the report to")
    from framemesh import comparing  # noqa: PLC0415 - see above

    now = datetime.now(UTC)
    sides = comparing.Side.parse(a), comparing.Side.parse(b)
    first, last = parse_time(since, now=now), parse_time(until, now=now)
    with lake_tables(data_dir) as tables, Bar("comparing") as bar:
        tables.check_cameras(camera or [])

        def show(done: int, total: int) -> None:
            if total:  # until then it counts the frames
                bar.show(done, total)

        try:
            found = comparing.compare(
                tables, *sides, since=first, until=last, cameras=camera or [], min_score=min_score, max_frames=frames,
                limit=limit, on_progress=show,
            )  # fmt: skip
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None
        found = _with_costs(found, data_dir)
        if report is not None:
            _write(report, found, tables, console_url or _console_of(data_dir))
    if as_json:
        typer.echo(json.dumps(_plain(asdict(found)), ensure_ascii=False))
    else:
        _print(found)
    if report is not None:
        typer.echo(f"report: {report}", err=True)


def _with_costs(found: "Comparison", data_dir: Path) -> "Comparison":
    """The same, with what servers of a mesh that runs here have used of the CPU: no result says it of its own."""
    from framemesh.comparing.costs import cpu_cost  # noqa: PLC0415 - as above

    state = read_state(data_dir)
    if state is None:
        return found

    def costing(facts: "SideFacts") -> "SideFacts":
        if facts.side.version:  # a server's page is of the version that it has now
            return facts
        prefix = f"model-{facts.side.model}-"
        servers = (address for name, address in state.http.items() if name.removeprefix(prefix).isdigit())
        pages = (page for address in servers if (page := _page(f"http://{address}/metrics")))
        return replace(facts, cpu=cpu_cost(pages, facts.side.model))

    return replace(found, a=costing(found.a), b=costing(found.b))


def _page(url: str) -> str:
    """A server's page of metrics; empty where it doesn't give one."""
    try:
        with urllib.request.urlopen(url, timeout=_PAGE_SECONDS) as response:  # noqa: S310 - of our own mesh
            return str(response.read().decode())
    except OSError:
        return ""


def _console_of(data_dir: Path) -> str:
    """Where the console of the mesh on the data directory is; empty where there is none."""
    state = read_state(data_dir)
    address = state.http.get("console") if state else None
    return f"http://{address}" if address else ""


def _write(report: Path, found: "Comparison", tables: "LakeTables", console_url: str) -> None:
    """Write the report, a Markdown one with its pictures in a folder beside it.

    Raises:
        ConfigurationError: The disk can't be written.
    """
    from framemesh.comparing import reports  # noqa: PLC0415 - as above
    from framemesh.comparing.thumbnails import thumbnails  # noqa: PLC0415

    pictures = thumbnails((told.object_key for told in found.disagreements), tables.picture)
    try:
        if report.suffix == ".html":
            report.write_text(reports.html(found, pictures, console_url=console_url))
            return
        folder = report.with_suffix(".pictures")
        if pictures:
            folder.mkdir(exist_ok=True)
        paths = {}
        for key, body in pictures.items():
            path = folder / Path(key).with_suffix(".jpg").name
            path.write_bytes(body)
            paths[key] = f"{folder.name}/{path.name}"
        report.write_text(reports.markdown(found, paths, console_url=console_url))
    except OSError as error:
        raise ConfigurationError(f"the report can't be written to {report}: {error.strerror or error}") from error


def _print(found: "Comparison") -> None:
    from framemesh.comparing import telling  # noqa: PLC0415 - as above

    console = Console()
    console.print(Text(printable(telling.headline(found)), "bold"))
    for note in found.notes:
        console.print(Text(printable(note), "yellow"))
    for table in telling.tables(found, limit=_ROWS):
        shown = Table(title=Text(table.title, "bold"), title_justify="left", box=None, pad_edge=False)
        for column in table.columns:
            shown.add_column(Text(printable(column)))
        for row in table.rows:
            shown.add_row(*(Text(printable(cell)) for cell in row))
        console.print()
        console.print(shown)
        if table.legend:
            console.print(Text(table.legend, "dim"))
    if found.disagreements:
        console.print()
        console.print(
            Text(f"{len(found.disagreements):,} of {found.disagreeing:,} frames on which they disagree", "bold")
        )
    for told in found.disagreements:
        console.print(Text(f"{printable(told.object_key)}  {telling.disagreement(told)}"), soft_wrap=True)


def _plain(value: Any) -> Any:
    """What JSON has a word for: times as RFC 3339; an interval without ends has null."""
    match value:
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
