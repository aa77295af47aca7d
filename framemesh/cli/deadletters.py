"""`framemesh deadletters`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToJson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir, open_client
from framemesh.v1.dead_letter_service_pb2 import DeadLetterFilter, KeptDeadLetter, RetryDeadLettersResponse
from framemesh.words import printable

app = typer.Typer(no_args_is_help=True, help="What could not be processed: list it, look at it, try it again.")

Camera = Annotated[str, typer.Option(help="Only of this camera.")]
Model = Annotated[str, typer.Option(help="Only of this model.")]
Reason = Annotated[str, typer.Option(help="Only with this reason, such as INVALID_IMAGE.")]
Number = Annotated[int, typer.Argument(min=1, help="A dead letter's number, as `list` shows it.")]


@app.command("list")
def list_letters(
    camera: Camera = "",
    model: Model = "",
    reason: Reason = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most, the newest first.")] = 100,
    as_json: AsJson = False,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List dead letters, the newest first."""
    wanted = DeadLetterFilter(camera=camera, model=model, reason=reason)
    with open_client(address, data_dir) as client:
        found = client.dead_letters(wanted, limit=limit)
    if as_json:
        for kept in found:
            typer.echo(MessageToJson(kept, indent=None))
        return
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("number", "since", "subject", "model", "reason", "message"):
        table.add_column(title, overflow="fold", no_wrap=title in {"number", "since", "reason"})
    for kept in found:
        facts = dict(_facts(kept))
        table.add_row(*(Text(printable(facts[str(column.header)])) for column in table.columns))
    Console().print(table if found else "no dead letters")


@app.command("show")
def show(
    number: Number,
    body: Annotated[Path | None, typer.Option(help="Write the message's own body to this file.")] = None,
    as_json: AsJson = False,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show one dead letter; its body goes to a file."""
    with open_client(address, data_dir) as client:
        kept = client.dead_letter(number)
    if body is not None:
        body.write_bytes(kept.dead_letter.body)
    if as_json:
        typer.echo(MessageToJson(kept, indent=None))
        return
    size = f"{len(kept.dead_letter.body):,} bytes" if kept.dead_letter.body else "in the lake"
    for title, words in (*_facts(kept), ("object", kept.dead_letter.frame.object_key), ("body", size)):
        typer.echo(f"{title:8} {printable(words)}")


@app.command("retry")
def retry(
    number: Annotated[int | None, typer.Argument(min=1, help="The one of this number.")] = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="All, or all that the other options leave.")] = False,
    camera: Camera = "",
    model: Model = "",
    reason: Reason = "",
    as_json: AsJson = False,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Publish refused messages again, and ask models again; what is accepted leaves the list.

    Ends with 1 where a retry was not accepted.
    """
    if (number is None) != all_of_them:
        raise typer.BadParameter("name one number, or --all, which --camera, --model and --reason narrow down")
    if number is not None and (camera or model or reason):
        raise typer.BadParameter("--camera, --model and --reason narrow down --all")
    wanted = DeadLetterFilter(camera=camera, model=model, reason=reason)
    with open_client(address, data_dir) as client:
        refused, accepted = _told(client.retry_dead_letters(wanted if number is None else number), as_json=as_json)
    if not as_json:
        typer.echo(f"{accepted} accepted, {refused} not")
    raise typer.Exit(1 if refused else 0)


def _told(tries: Iterator[RetryDeadLettersResponse], *, as_json: bool) -> tuple[int, int]:
    """Print how each try ended; how many were refused and accepted."""
    counts = [0, 0]
    for tried in tries:
        accepted = not tried.HasField("error")
        counts[accepted] += 1
        if as_json:
            typer.echo(MessageToJson(tried, indent=None))
        elif not accepted:
            typer.echo(f"{tried.number}: {tried.error.reason}: {printable(tried.error.message)}")
    return counts[0], counts[1]


def _facts(kept: KeptDeadLetter) -> tuple[tuple[str, str], ...]:
    letter = kept.dead_letter
    return (
        ("number", str(kept.number)),
        ("since", f"{kept.create_time.ToDatetime():%Y-%m-%d %H:%M:%S}Z"),
        ("subject", letter.subject),
        ("frame", letter.frame.frame_id),
        ("model", letter.model),
        ("reason", letter.reason),
        ("message", letter.message),
    )
