"""`framemesh deploy`, `scale` and `delete`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from framemesh.cli.following import WAITS, following
from framemesh.cli.target import DEFAULT_DATA_DIR, Address, DataDir, open_client
from framemesh.client import Client
from framemesh.deploying import FAILED, settled
from framemesh.specs import MAX_REPLICAS, made
from framemesh.v1.model_pb2 import Model
from framemesh.words import state

Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Show how far it is until it is ready; exit code 1 where it fails.")
]


def deploy(
    source: Annotated[
        str,
        typer.Argument(help="A Hugging Face id, a folder, lake://models/NAME/VERSION or demo:efficientnet-lite0."),
    ],
    name: Annotated[str, typer.Option(help="Its name in this mesh; without it, the last part of the source.")] = "",
    replicas: Annotated[int, typer.Option(min=0, max=MAX_REPLICAS, help="How many servers serve it.")] = 1,
    runtime: Annotated[str, typer.Option(help="What runs it: onnx or torch.")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32, int8, fp16 or bf16.")] = "fp32",
    policy: Annotated[str, typer.Option(help="Which frames it sees: every, latest or fps=N.")] = "latest",
    task: Annotated[str, typer.Option(help="What it does; without it, as its config.json says.")] = "",
    revision: Annotated[str, typer.Option(help="The hub's branch, tag or commit.")] = "",
    start: Annotated[str, typer.Option(help="See the frames stored since then too, such as 2h.")] = "",
    camera: Annotated[list[str] | None, typer.Option(help="A camera whose frames it sees. Repeatable.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="What a zero-shot model looks for. Repeatable.")] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Answer beside the others without anybody being told, to be compared.")
    ] = False,
    wait: Wait = True,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Deploy a model to a mesh that runs, or replace the one of that name without a gap.

    The same options again change nothing. Needs a token of role admin where the gateway wants tokens.
    """
    options = {"runtime": runtime, "precision": precision, "policy": policy, "replicas": str(replicas)}
    options |= {"shadow": "true"} if shadow else {}
    options |= {key: value for key, value in (("task", task), ("revision", revision), ("start", start)) if value}
    several = [*(("camera", each) for each in camera or ()), *(("label", each) for each in label or ())]
    spec = made(source, (*options.items(), *several), name=name or None)
    if Path(source).exists() or source.startswith(("demo:", ".", "/", "~")):
        from framemesh.mesh.demo import check_source, localised  # noqa: PLC0415 - a client has no mesh

        spec = asyncio.run(localised(check_source(spec), data_dir.resolve() / "models" / "demo"))
    with open_client(address, data_dir) as client:
        wish = client.deploy_model(spec)
        if wait:
            follow(client, wish.spec.name, wish.generation)


def scale(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    replicas: Annotated[int, typer.Argument(min=0, max=MAX_REPLICAS, help="How many servers serve it.")],
    wait: Wait = True,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Change how many servers serve a model."""
    with open_client(address, data_dir) as client:
        wish = client.scale_model(name, replicas)
        if wait:
            follow(client, name, wish.generation)


def delete(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Remove a model. Its results stay, and so do its versions in the lake."""
    with open_client(address, data_dir) as client:
        client.delete(name)


def follow(client: Client, name: str, generation: int) -> None:
    """Show how far a wish is until it is fulfilled or has failed.

    Raises:
        Exit: With 1, where it has failed.
    """
    last = Model()
    with following(name) as shown:
        for last in client.progress(name, generation):
            words = state(last) if last.status.generation >= generation else WAITS
            shown.show(words, last.status.progress, over=settled(last, generation))
    if last.status.phase in FAILED:
        Console(stderr=True).print(Text(f"{name}: {state(last)}", "red"), soft_wrap=True)
        raise typer.Exit(1)
    Console().print(Text(f"{name}: {state(last)}"), soft_wrap=True)
