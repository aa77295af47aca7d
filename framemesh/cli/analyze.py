"""`framemesh analyze`."""

from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToJson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir, gateway_address
from framemesh.client import ANALYZE_SECONDS, Client
from framemesh.errors import InvalidImageError
from framemesh.words import words


def analyze(
    image: Annotated[str, typer.Argument(help="A JPEG, PNG or WebP file; with --stored, the key of a stored frame.")],
    model: Annotated[list[str] | None, typer.Option(help="Ask this model; repeatable. Without it, all.")] = None,
    stored: Annotated[bool, typer.Option("--stored", help="IMAGE is the key of a stored frame.")] = False,
    top: Annotated[int, typer.Option(min=1, max=1000, help="How many classes to name.")] = 5,
    label: Annotated[
        list[str] | None, typer.Option(help="What zero-shot models look for, such as 'a cat'; repeatable.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="The least score of an object or segment that is named.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that it may take.")] = ANALYZE_SECONDS,
    as_json: AsJson = False,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Ask the models about one image."""
    with Client(gateway_address(address, data_dir)) as client:
        try:
            response = client.analyze(
                None if stored else Path(image),
                object_key=image if stored else None,
                models=model or (),
                max_label_count=top,
                candidate_labels=label or (),
                min_score=min_score,
                timeout=timeout,
            )
        except OSError as error:
            raise InvalidImageError(f"can't read {image!r}: {error.strerror}", image=image) from error
    if as_json:
        typer.echo(MessageToJson(response, indent=None))
    else:
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        for title in ("model", "answer", "score", "time"):
            table.add_column(title, justify="right" if title in {"score", "time"} else "left")
        for answer in response.answers:
            milliseconds = answer.timing.inference_duration.ToNanoseconds() / 1e6
            for row, (what, score) in enumerate(words(answer)):
                first = row == 0
                took = f"{milliseconds:.0f} ms" if first and answer.HasField("timing") else ""
                table.add_row(answer.model if first else "", Text(what), score, took)
        Console().print(table)
    if all(answer.HasField("error") for answer in response.answers):
        raise typer.Exit(1)
