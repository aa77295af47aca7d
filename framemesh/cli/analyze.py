"""`framemesh analyze`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToJson
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir, open_client
from framemesh.client import ANALYZE_SECONDS
from framemesh.errors import InvalidImageError
from framemesh.sending import unreadable
from framemesh.v1.analysis_service_pb2 import AnalyzeResponse, AnalyzeStreamResponse
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.frame_pb2 import Frame
from framemesh.words import words

_SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")


def analyze(
    image: Annotated[
        list[str],
        typer.Argument(help="JPEG, PNG or WebP files, or folders of them; with --stored, keys of stored frames."),
    ],
    model: Annotated[list[str] | None, typer.Option(help="Ask this model; repeatable. Without it, all.")] = None,
    stored: Annotated[bool, typer.Option("--stored", help="IMAGE is the key of a stored frame.")] = False,
    top: Annotated[int, typer.Option(min=1, max=1000, help="How many classes to name.")] = 5,
    label: Annotated[
        list[str] | None, typer.Option(help="What zero-shot models look for, such as 'a cat'; repeatable.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="The least score of an object or segment that is named.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that each image may take.")] = ANALYZE_SECONDS,
    as_json: AsJson = False,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Ask the models about an image, or about many: each is told of as soon as it is answered."""
    options: dict[str, Any] = {
        "models": model or (),
        "options": AnswerOptions(max_label_count=top, candidate_labels=label or (), min_score=min_score),
        "timeout": timeout,
    }
    with open_client(address, data_dir) as client:
        if len(image) > 1 or (not stored and Path(image[0]).is_dir()):
            found = (_stored if stored else _files)(image)
            told = [_tell_of_one(response, as_json=as_json) for response in client.analyze_stream(found, **options)]
        elif stored:
            told = [_tell(client.analyze(object_key=image[0], **options), as_json=as_json)]
        else:
            try:
                told = [_tell(client.analyze(Path(image[0]), **options), as_json=as_json)]
            except OSError as error:
                raise unreadable(image[0], error) from error
    if not all(told):
        raise typer.Exit(1)


def _stored(keys: list[str]) -> Iterator[tuple[str, Frame]]:
    for key in keys:
        yield key, Frame(object_key=key)


def _files(names: list[str]) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.suffix.lower() in _SUFFIXES)
            if not inside:
                raise InvalidImageError(f"no photo in {name!r}: looked for {', '.join(_SUFFIXES)}", image=name)
            found += [(str(each), each) for each in inside]
        else:
            found.append((name, path))
    return found


def _tell(response: AnalyzeResponse, *, as_json: bool) -> bool:
    """Print the models' answers; return whether there is one."""
    if as_json:
        typer.echo(MessageToJson(response, indent=None))
    else:
        Console().print(_table(response))
    return _is_answered(response)


def _tell_of_one(one: AnalyzeStreamResponse, *, as_json: bool) -> bool:
    """The same of one image of many, under its name."""
    if as_json:
        typer.echo(MessageToJson(one, indent=None))
    else:
        said = Text(one.error.message, "red") if one.HasField("error") else _table(one.response)
        console = Console()
        console.print(Text(one.request_id, "bold"), soft_wrap=True)  # a path that is broken is none
        console.print(Padding(said, (0, 0, 0, 2)))
    return _is_answered(one.response)


def _is_answered(response: AnalyzeResponse) -> bool:
    return any(answer.HasField("answer") for answer in response.answers)


def _table(response: AnalyzeResponse) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("model", "answer", "score", "time"):
        table.add_column(title, justify="right" if title in {"score", "time"} else "left")
    for answer in response.answers:
        milliseconds = answer.timing.inference_duration.ToNanoseconds() / 1e6
        for row, (what, score) in enumerate(words(answer)):
            first = row == 0
            took = f"{milliseconds:.0f} ms" if first and answer.HasField("timing") else ""
            table.add_row(answer.model if first else "", Text(what), score, took)
    return table
