"""`framemesh correct` and `framemesh corrections`."""

import re
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToJson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir, open_client
from framemesh.corrections import task_of
from framemesh.frames import frame_id_of
from framemesh.v1.answer_pb2 import Box
from framemesh.v1.correction_pb2 import CorrectedObject, CorrectedObjects, Correction
from framemesh.words import printable

app = typer.Typer(no_args_is_help=True, help="What people say that frames show: list it, take it back.")

_BOX = re.compile(r"(.+)=(\d+(?:\.\d+)?),(\d+(?:\.\d+)?),(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)")

Frame = Annotated[str, typer.Argument(help="A frame's id or its object's key, as `framemesh frames` shows it.")]


def correct(
    frames: Annotated[list[str], typer.Argument(help="Ids of frames or keys of their objects.", metavar="FRAME...")],
    label: Annotated[str, typer.Option(help="The class of the whole image.")] = "",
    box: Annotated[
        list[str] | None,
        typer.Option(help="An object, as car=10,20,110,80: its left, upper, right and lower edge. Repeatable."),
    ] = None,
    nothing: Annotated[bool, typer.Option("--nothing", help="For object detection: there is no object.")] = False,
    model: Annotated[str, typer.Option(help="The model whose answer this corrects.")] = "",
    as_json: AsJson = False,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Say what stored frames show; it wins over what models say, in `framemesh dataset export` and elsewhere.

    Needs a token of role label where the gateway wants tokens; its name is kept beside the correction.
    """
    if bool(label) + bool(box) + nothing != 1:
        raise typer.BadParameter("say what the frames show: --label, or --box for each object, or --nothing")
    truth = label or CorrectedObjects(objects=[_object(text) for text in box or ()])
    with open_client(address, data_dir) as client:
        for frame in frames:
            _show_one(client.correct(_frame_id(frame), truth, model=model), as_json=as_json)


@app.command("list")
def list_corrections(
    frame: Annotated[str, typer.Option(help="Only of this frame: its id or its object's key.")] = "",
    camera: Annotated[str, typer.Option(help="Only of this camera.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most, the newest first.")] = 100,
    as_json: AsJson = False,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List the corrections that count, the newest first; the table `corrections` of `framemesh query` has all."""
    with open_client(address, data_dir) as client:
        found = client.corrections(camera=camera, frame_id=_frame_id(frame), limit=limit)
    if as_json:
        for correction in found:
            typer.echo(MessageToJson(correction, indent=None))
        return
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("frame", "says", "model", "by", "since"):
        table.add_column(title, overflow="fold", no_wrap=title == "since")
    for correction in found:
        since = f"{correction.correct_time.ToDatetime():%Y-%m-%d %H:%M:%S}Z"
        cells = (correction.frame.frame_id, _said(correction), correction.model, correction.author, since)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console().print(table if found else "no corrections")


@app.command("remove")
def remove(
    frame: Frame,
    task: Annotated[str, typer.Option(help="Only for this one: image-classification or object-detection.")] = "",
    as_json: AsJson = False,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Take back what was said of a frame: models' answers count again."""
    with open_client(address, data_dir) as client:
        for gone in client.remove_correction(_frame_id(frame), task=task):
            _show_one(gone, as_json=as_json)


def _frame_id(text: str) -> str:
    """The id in what a user copied: an id, or an object's key."""
    found = frame_id_of(text)
    return text if found is None else str(found)


def _object(text: str) -> CorrectedObject:
    found = _BOX.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no object: write car=10,20,110,80, left, upper, right and lower edge")
    x_min, y_min, x_max, y_max = map(float, found.groups()[1:])
    return CorrectedObject(label=found[1], box=Box(x_min_px=x_min, y_min_px=y_min, x_max_px=x_max, y_max_px=y_max))


def _said(correction: Correction) -> str:
    if not correction.HasField("objects"):
        return correction.label
    return ", ".join(each.label for each in correction.objects.objects) or "no object"


def _show_one(correction: Correction, *, as_json: bool) -> None:
    if as_json:
        typer.echo(MessageToJson(correction, indent=None))
    else:
        words = f"{correction.frame.frame_id}  {task_of(correction)}  {_said(correction)}"
        typer.echo(printable(words))
