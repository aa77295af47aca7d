"""`framemesh trainings`, and how far a training of the mesh is."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict, MessageToJson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framemesh.cli.following import WAITS, following
from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir, open_client
from framemesh.client import Client
from framemesh.errors import EXIT_INTERRUPTED, TrainingNotFoundError
from framemesh.trainings import ended
from framemesh.v1.training_pb2 import Training
from framemesh.v1.training_pb2 import TrainingPhase as Phase
from framemesh.words import printable

app = typer.Typer(help="The trainings that the mesh runs: `framemesh train --mesh` starts one.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The model's name.")]
Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Show how far it is until it has ended; exit code 1 where it fails.")
]

_METRICS = {"loss": "loss", "accuracy": "accuracy", "mean_recall": "mean recall", "map50": "mAP@0.5"}


@app.command("list")
def list_trainings(address: Address = None, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """List the trainings, of each name the last."""
    with open_client(address, data_dir) as client:
        found = client.trainings()
    if as_json:
        for training in found:
            typer.echo(MessageToJson(training, indent=None))
        return
    table = Table("training", "state", "dataset", "base", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for training in found:
        table.add_row(training.spec.name, _state(training), Text(training.spec.dataset), Text(training.spec.base))
    Console().print(table if found else "nothing is trained: `framemesh train --mesh` starts a training")


@app.command()
def watch(name: Name, address: Address = None, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show how far a training is until it has ended."""
    with open_client(address, data_dir) as client:
        known = {training.spec.name: training.generation for training in client.trainings()}
        if name not in known:
            raise TrainingNotFoundError(f"no training {name!r}; there are: {', '.join(known) or 'none'}")
        follow(client, name, known[name], as_json=as_json)


@app.command()
def stop(name: Name, wait: Wait = True, address: Address = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Have a training write a checkpoint and end; the same `framemesh train --mesh` goes on from there."""
    with open_client(address, data_dir) as client:
        wish = client.stop_training(name)
        if wait:
            follow(client, name, wish.generation)


@app.command()
def delete(name: Name, address: Address = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Stop a training and forget it. What it has in the lake stays."""
    with open_client(address, data_dir) as client:
        client.delete_training(name)


def follow(client: Client, name: str, generation: int, *, as_json: bool = False) -> None:
    """Show how far a wish for a training is until it has come to its end.

    Raises:
        Exit: With 1, where it has failed; with 130, where the user wants to see no more of it.
    """
    console = Console(stderr=True)
    last = Training()
    try:
        with following(name) as shown:
            epoch = 0
            for last in client.training_progress(name, generation):
                if as_json:
                    typer.echo(MessageToJson(last, indent=None))
                    continue
                status = last.status
                if status.generation >= generation and status.epoch > epoch:
                    epoch = status.epoch
                    shown.say(_epoch(last))
                shown.show(_state(last), status.progress, over=ended(last, generation))
    except KeyboardInterrupt:
        console.print(
            f"it goes on: see `framemesh trainings watch {name}`, end it with `framemesh trainings stop {name}`"
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if not as_json:
        _show_end(last, console)
    if last.status.phase == Phase.TRAINING_PHASE_FAILED:
        raise typer.Exit(1)


def measured(validation: Mapping[str, float]) -> str:
    """What was measured on the validation split."""
    return ", ".join(f"{_METRICS[key]} {validation[key]:.3f}" for key in _METRICS if key in validation)


def show(done: Mapping[str, Any]) -> None:
    """Print how well a trained model does, and what to do with it."""
    scores = done["scores"]
    console = Console()
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("class", "examples", "precision", "recall"):
        table.add_column(title, justify="left" if title == "class" else "right")
    for found in scores["classes"]:
        shares = ("" if found.get(key) is None else f"{found[key]:.3f}" for key in ("precision", "recall"))
        table.add_row(Text(found["name"]), f"{found['count']:,}", *shares)
    console.print(table)
    overall = scores["overall"]
    interval = f"{overall['value']:.3f} [{overall['low']:.3f}, {overall['high']:.3f}]"
    console.print(Text(f"{scores['measure']} on the test split: {interval}, {scores['images']:,} pictures"))
    console.print(Text(f"framemesh deploy {done['source']} --shadow"), soft_wrap=True)


def _show_end(training: Training, console: Console) -> None:
    status = training.status
    if status.phase == Phase.TRAINING_PHASE_SUCCEEDED:
        show(MessageToDict(status.result, always_print_fields_with_no_presence=True))
        return
    style = "red" if status.phase == Phase.TRAINING_PHASE_FAILED else ""
    console.print(Text(f"{training.spec.name}: {_state(training)}", style), soft_wrap=True)


def _epoch(training: Training) -> str:
    status = training.status
    loss = f"loss {status.loss:.3f}; " if status.HasField("loss") else ""
    return f"epoch {status.epoch}/{status.epoch_count}: {loss}validation {measured(status.validation)}"


def _state(training: Training) -> str:
    """A training's state in a few words, such as `training 40 %, epoch 2/5` or `failed: out of memory`."""
    status = training.status
    if status.generation < training.generation:
        return WAITS
    words = Phase.Name(status.phase).removeprefix("TRAINING_PHASE_").lower()
    if 0 < status.progress < 1:
        words += f" {status.progress:.0%}".replace("%", " %")
    if status.phase == Phase.TRAINING_PHASE_TRAINING and status.epoch:
        words += f", epoch {status.epoch}/{status.epoch_count}"
    return f"{words}: {printable(' '.join(status.message.split()))}" if status.message else words
