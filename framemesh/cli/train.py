"""`framemesh train`."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from framemesh.cli import trainings
from framemesh.cli.services import check_installed, lake_of_mesh
from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir, open_client
from framemesh.errors import EXIT_CONFIGURATION, EXIT_INTERRUPTED, EXIT_TRY_AGAIN, ConfigurationError, InternalError
from framemesh.exits import KILLED, reported
from framemesh.names import MAX_MODEL_LENGTH, check_label
from framemesh.trainings import arguments, options
from framemesh.v1.model_pb2 import ModelSpec
from framemesh.v1.training_pb2 import TrainingSpec

_NEEDED = (
    "trainer",
    "model_server",
    "torch",
    "transformers",
    "accelerate",
    "tensorboard",
    "pydantic_settings",
    "obstore",
)


def train(
    dataset: Annotated[
        str, typer.Option(help="A folder that `framemesh dataset export` made, or lake://datasets/NAME/VERSION.")
    ],
    base: Annotated[
        str,
        typer.Option(
            help="What to start from: a Hugging Face id, a folder, lake://training/NAME/RUN or a demo: model."
        ),
    ],
    name: Annotated[str, typer.Option(help="The model's name in the lake.")],
    epochs: Annotated[int | None, typer.Option(min=1, help="At most so many; it ends once there is no gain.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Pictures a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of what is new, the highest.")] = None,
    head_only: Annotated[
        bool, typer.Option("--head-only", help="Leave the pretrained part as it is: for few pictures, or no GPU.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of all that is left to chance.")] = None,
    revision: Annotated[str, typer.Option(help="The base's branch, tag or commit at the hub.")] = "",
    render: Annotated[
        bool, typer.Option("--render", help="Print the Kubernetes Job that does it, as YAML, and train nothing.")
    ] = False,
    mesh: Annotated[
        bool, typer.Option("--mesh", help="Have the mesh's deployer do it, which this only follows: Ctrl-C leaves it.")
    ] = False,
    wait: trainings.Wait = True,
    address: Address = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Fine-tune a model on an exported dataset, and put it into the lake as lake://models/NAME/RUN.

    The same command goes on where an interrupted one stopped, on any machine: checkpoints are in the lake.
    FRAMEMESH_S3_ENDPOINT, FRAMEMESH_S3_ACCESS_KEY and FRAMEMESH_S3_SECRET_KEY say where that is; without them it is
    that of the mesh which runs on the data directory. With --mesh it is the mesh's, and so is the machine.
    """
    check_label("model", name, max_length=MAX_MODEL_LENGTH)
    spec = TrainingSpec(
        name=name, dataset=dataset, base=base, revision=revision, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, head_only=head_only, seed=seed,
    )  # fmt: skip
    if mesh:
        if render:
            raise ConfigurationError("--mesh and --render are two ways of having a cluster train: choose one")
        if Path(base).is_dir():
            spec.base = str(Path(base).resolve())  # as the deployer works elsewhere
        with open_client(address, data_dir) as client:
            wish = client.start_training(spec)
            if wait:
                trainings.follow(client, name, wish.generation, as_json=as_json)
        return
    if render:
        check_installed(("deployer", "pydantic_settings", "yaml"), "train --render", "run `make demo`")
        _exit_as("deployer.kubernetes.training", name, "--dataset", dataset, "--base", base, *options(spec))
    check_installed(_NEEDED, "train", "run `make demo`")
    from framemesh.mesh.demo import localised  # noqa: PLC0415 - a client has no mesh

    folder = data_dir.resolve() / "training"
    found = asyncio.run(localised(ModelSpec(name=name, source=base), data_dir.resolve() / "models" / "demo"))
    argv = (sys.executable, "-m", "trainer", *arguments(spec, folder=str(folder), base=found.source))
    console = Console(stderr=True)
    done = _followed(argv, {**os.environ, **lake_of_mesh(data_dir, os.environ)}, console)
    if as_json:
        typer.echo(json.dumps(done))
        return
    trainings.show(done)


def _exit_as(program: str, *arguments: str) -> NoReturn:
    """Run a program to its end, and end as it does."""
    done = subprocess.run((sys.executable, "-m", program, *arguments), check=False)
    if done.returncode not in {0, EXIT_CONFIGURATION}:
        raise InternalError(f"rendering ended with {done.returncode}: the lines above say why")
    raise typer.Exit(done.returncode)


def _followed(argv: tuple[str, ...], environment: dict[str, str], console: Console) -> dict[str, Any]:
    """Show what the program tells until it ends; returns the last thing that it tells.

    Raises:
        Exit: With 130, where it was told to stop.
    """
    last: dict[str, Any] = {}
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe, as it was started
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            shown = bar.add_task("", total=1)
            for last in _lines(process):
                if (words := _words(last)) is not None:
                    console.print(Text(words), soft_wrap=True)
                bar.update(shown, description=str(last["step"]), completed=float(last.get("share", 0)))
    code = process.returncode
    if code == 0:
        return last
    if code == EXIT_INTERRUPTED:
        typer.echo("stopped, with a checkpoint in the lake: the same command goes on from there", err=True)
        raise typer.Exit(EXIT_INTERRUPTED)
    told = str(last.get("error", ""))
    if told and code == EXIT_TRY_AGAIN:
        told += "; the same command goes on"
    if (error := reported(code, told)) is not None:
        raise error
    if code == KILLED:
        raise InternalError("out of memory, most likely: the training was killed; choose a smaller --batch-size")
    raise InternalError(f"training ended with {code}: the lines above say why")


def _lines(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    """What the program tells. Ctrl-C reaches it as well: it is waited for, as it has a checkpoint to write."""
    assert process.stdout is not None  # noqa: S101 - as above
    while True:
        try:
            if not (line := process.stdout.readline()):
                return
        except KeyboardInterrupt:
            continue
        yield json.loads(line)


def _words(said: dict[str, Any]) -> str | None:
    """What people are told of a step; nothing of one that the bar shows."""
    words = None
    match said["step"]:
        case "dataset":
            pictures = ", ".join(f"{count:,} {split}" for split, count in said["pictures"].items())
            left_out = f"; {said['unreadable']:,} can't be decoded and are left out" if said["unreadable"] else ""
            words = f"{said['task']} of {len(said['classes'])} classes: {pictures}{left_out}"
        case "run":
            words = f"run {said['run']}; metrics: tensorboard --logdir {said['metrics']}"
        case "resuming":
            words = f"goes on from step {said['at_step']:,}"
        case "found":
            words = f"trained already: {said['source']}"
        case "before":
            words = f"untrained: validation {trainings.measured(said['validation'])}"
        case "epoch":
            measured = trainings.measured(said["validation"])
            words = f"epoch {said['epoch']}/{said['epochs']}: loss {said['loss']:.3f}; validation {measured}"
    return words
