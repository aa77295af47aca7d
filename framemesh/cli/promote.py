"""`framemesh promote`, `rollback` and `history`."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToJson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framemesh.cli.archived import await_archive
from framemesh.cli.deploy import Wait, follow
from framemesh.cli.lake import FIRST, LAST, Since, Until, lake_tables
from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir, deployed_model, open_client
from framemesh.cli.times import parse_time
from framemesh.errors import ModelUnavailableError
from framemesh.words import printable


def promote(
    shadow: Annotated[str, typer.Argument(help="The shadow.")],
    to: Annotated[str, typer.Option("--to", metavar="MODEL", help="The model that is to be served by its version.")],
    min_agreement: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of frames on which both must say the same.")
    ] = None,
    min_accuracy_gain: Annotated[
        float | None,
        typer.Option(
            min=-1,
            max=1,
            help="What the shadow must be right more often, as a share of the frames that people corrected.",
        ),
    ] = None,
    min_frames: Annotated[int, typer.Option(min=1, help="How many frames that must be seen on.")] = 100,
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera's frames; repeatable.")] = None,
    since: Since = FIRST,
    until: Until = LAST,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Replace a model's version by a shadow's without a gap, where the comparison of both holds.

    It compares what both said of the same stored frames, in the shadow's present version, and refuses with the figures
    where a threshold isn't reached. The shadow is removed once the model is ready. Needs a token of role admin where
    the gateway wants tokens.
    """
    if min_agreement is None and min_accuracy_gain is None:
        raise typer.BadParameter("say what has to hold: --min-agreement, --min-accuracy-gain, or both")
    now = datetime.now(UTC)
    times = parse_time(since, now=now), parse_time(until, now=now)
    with open_client(address, data_dir) as client:
        await_archive(client)
        with lake_tables(data_dir) as tables:
            from framemesh.comparing import Side, compare  # noqa: PLC0415 - `lake_tables` says what to install for it
            from framemesh.promoting import Thresholds, verdict  # noqa: PLC0415

            version = deployed_model(client, shadow).status.serving.model_version
            if not version:
                raise ModelUnavailableError(
                    f"the shadow {shadow!r} does not serve yet: `framemesh models` shows its state"
                )
            found = compare(
                tables, Side(shadow, version), Side(to), since=times[0], until=times[1], cameras=camera or (), limit=0
            )
        judged = verdict(found, Thresholds(min_agreement, min_accuracy_gain, min_frames))
        for line in judged.figures:
            typer.echo(line)
        if judged.failures:
            for line in judged.failures:
                typer.echo(f"not promoted: {line}", err=True)
            raise typer.Exit(1)
        wish = client.promote(shadow, to, reason="; ".join(judged.figures))
        follow(client, to, wish.generation)
        client.delete(shadow)


def rollback(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    wait: Wait = True,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Have a model served by the version that served before, without a gap; once more, by the one of now again.

    `framemesh history` lists the versions. Needs a token of role admin where the gateway wants tokens.
    """
    with open_client(address, data_dir) as client:
        wish = client.roll_back(name)
        if wait:
            follow(client, name, wish.generation)


def history(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    as_json: AsJson = False,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List the versions that have served a model, the newest first: which, since when, who wanted it and why."""
    with open_client(address, data_dir) as client:
        status = deployed_model(client, name).status
    releases = [*((status.serving,) if status.HasField("serving") else ()), *status.previous]
    if as_json:
        for release in releases:
            typer.echo(MessageToJson(release, indent=None))
        return
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("wanted", "by", "version", "why", "source"):
        table.add_column(title)
    for release in releases:
        origin = release.spec.origin
        wanted = f"{origin.time.ToDatetime(UTC):%Y-%m-%d %H:%M:%S}" if origin.HasField("time") else ""
        cells = (wanted, origin.caller, release.model_version, origin.reason, release.source)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console().print(table if releases else f"no version of {name} has served yet")
