"""`framemesh export`."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framemesh.cli.services import Cache, check_model_server, lake_of_mesh, prepared_models
from framemesh.cli.target import DEFAULT_DATA_DIR, AsJson, DataDir
from framemesh.errors import EXIT_CONFIGURATION, EXIT_TRY_AGAIN, InternalError
from framemesh.exits import reported
from framemesh.specs import parse


def export(
    model: Annotated[
        str, typer.Argument(help="A Hugging Face id, a folder, lake://models/NAME/VERSION or demo:efficientnet-lite0.")
    ],
    runtime: Annotated[str, typer.Option(help="What is to run it: onnx or torch.")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32, int8, fp16 or bf16.")] = "fp32",
    task: Annotated[
        str, typer.Option(help="What it does, in the hub's words; without it, as its config.json says.")
    ] = "",
    revision: Annotated[str, typer.Option(help="The hub's branch, tag or commit.")] = "",
    samples: Annotated[
        Path | None, typer.Option(help="Folder of photos to compare and calibrate on, best of your own cameras.")
    ] = None,
    upload: Annotated[
        str,
        typer.Option(metavar="lake://models/NAME/VERSION", help="Put it into the lake too, for others to serve."),
    ] = "",
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Load pickles, which can run any code.")] = False,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python code that the model brings.")
    ] = False,
    cache: Cache = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Prepare a model as servers do, and show how well it agrees with transformers on torch.

    FRAMEMESH_S3_ENDPOINT, FRAMEMESH_S3_ACCESS_KEY and FRAMEMESH_S3_SECRET_KEY say where the lake is; without them it is
    that of the mesh which runs on the data directory.
    """
    check_model_server("export")
    from framemesh.mesh.demo import check_source, localised  # noqa: PLC0415 - a client has no mesh

    spec = check_source(parse(f"model={model},runtime={runtime},precision={precision}"))
    source = asyncio.run(localised(spec, data_dir.resolve() / "models" / "demo")).source
    folder = _build(
        source,
        "--cache", str(prepared_models(cache, data_dir)),
        "--runtime", runtime,
        "--precision", precision,
        "--task", task,
        "--revision", revision,
        "--upload", upload,
        *(("--samples", str(samples)) if samples is not None else ()),
        *(("--allow-pickle",) if allow_pickle else ()),
        *(("--trust-remote-code",) if trust_remote_code else ()),
        environment={**os.environ, **lake_of_mesh(data_dir, os.environ)},
    )  # fmt: skip
    manifest = json.loads((folder / "manifest.json").read_text())
    parity = json.loads((folder / "parity.json").read_text())
    if as_json:
        facts = {name: manifest[name] for name in ("version", "runtime", "precision", "fallback_reason", "preferred")}
        found = {"folder": str(folder), "task": manifest["task"]["name"], **facts, "parity": parity}
        typer.echo(json.dumps(found))
        return
    console = Console()
    does = f"{manifest['task']['name']} on {manifest['runtime']} {manifest['precision']}"
    console.print(Text(f"{does}, {manifest['preferred']} preprocessing"))
    console.print(_table(parity))
    for name, found in _comparisons(parity):
        if "refused" in found:
            console.print(Text(f"{name} refused: {found['refused']}", "yellow"))
    console.print(Text(f"prepared in {folder}{f', and stored as {upload}' if upload else ''}"), soft_wrap=True)


def _build(source: str, *arguments: str, environment: dict[str, str]) -> Path:
    """Run the program that prepares models; its log goes to standard error."""
    argv = (sys.executable, "-m", "model_server.building", *arguments, "--", source)
    done = subprocess.run(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment, check=False)
    if done.returncode not in {0, EXIT_CONFIGURATION, EXIT_TRY_AGAIN}:
        raise InternalError(
            f"preparing {source!r} ended with {done.returncode}: the lines above say why, or it lacked memory (-9)",
            source=source,
        )
    answer = json.loads(done.stdout.splitlines()[-1])
    if (error := reported(done.returncode, answer.get("error", ""), source=source)) is not None:
        raise error
    return Path(answer["folder"])


def _table(parity: dict[str, Any]) -> Table:
    """The parity report: a line for each comparison."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("compared", "photos", "answers agree", "outputs differ", "scores differ"):
        table.add_column(title, justify="left" if title == "compared" else "right")
    for name, found in _comparisons(parity):
        if "agreement" in found:
            table.add_row(
                name,
                str(found["images"]),
                f"{found['agreement']:.1%}",
                f"{found['max_absolute_error']:.1e}",
                f"{found['max_score_difference']:.1e}",
            )
    return table


def _comparisons(report: dict[str, Any], within: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The comparisons of a report, however deep they lie in it, each with its name."""
    for key, value in report.items():
        name = f"{within}, {key}" if within else key
        if isinstance(value, dict):
            if "refused" in value or "agreement" in value:
                yield name, value
            yield from _comparisons(value, name)
