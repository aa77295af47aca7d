"""`framemesh bench`."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framemesh.bench import PERCENTILES, ClosedLoop, Load, Measured, OpenLoop, bench, percentile
from framemesh.cli.services import Cache, check_model_server, lake_of_mesh, prepared_models
from framemesh.cli.target import DEFAULT_DATA_DIR, AsJson, DataDir
from framemesh.errors import ConfigurationError, InvalidImageError
from framemesh.mesh.photos import photo_folder
from framemesh.specs import parse
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.inference_service_pb2 import GetModelMetadataResponse
from framemesh.v1.model_pb2 import ModelSpec

_PHOTO = "rocket.jpg"  # 640 x 427 pixels


def bench_model(
    model: Annotated[
        str | None, typer.Argument(help="A model to start a server of, in the words of `framemesh up --model`.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A model server that runs already, as host:port, instead of a model.")
    ] = None,
    concurrency: Annotated[
        str, typer.Option(help="How many callers ask without a pause: one load for each of these numbers.")
    ] = "1,8",
    rate: Annotated[
        list[float] | None,
        typer.Option(min=0.01, max=100_000, help="A load of so many calls a second, come what may; repeatable."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=86_400, help="How long each load lasts.")] = 5.0,
    image: Annotated[
        list[Path] | None, typer.Option(help="A JPEG, PNG or WebP file to send; repeatable. Without it, a photo.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="What a zero-shot model looks for; repeatable.")] = None,
    cache: Cache = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Measure one model server: answers a second, and how long they take.

    Latency counts from the call; under a fixed rate from when the call was due, so that no wait is left out.
    """
    if (model is None) == (address is None):
        raise typer.BadParameter("name either a model, or with --address a server that runs")
    loads: list[Load] = [ClosedLoop(callers, seconds) for callers in _numbers(concurrency)]
    loads += [OpenLoop(calls, seconds) for calls in rate or ()]
    images = _images(image or [_built_in()])
    options = AnswerOptions(candidate_labels=label or ())
    results: list[Measured] = []
    if address is not None:
        served = asyncio.run(bench(address, images, loads, options=options, on_result=results.append))
    else:
        check_model_server("bench")
        spec = parse(str(model))
        cache = prepared_models(cache, data_dir)
        served = asyncio.run(_started(spec, cache, data_dir, images, loads, options, results))
    if as_json:
        facts = MessageToDict(served, preserving_proto_field_name=True)
        facts.pop("labels", None)
        typer.echo(json.dumps({"server": facts, "loads": [result.as_json() for result in results]}))
    else:
        _print(served, results)


async def _started(
    spec: ModelSpec,
    cache: Path,
    data_dir: Path,
    images: list[bytes],
    loads: list[Load],
    options: AnswerOptions,
    results: list[Measured],
) -> GetModelMetadataResponse:
    async with _server(spec, cache, data_dir) as address:
        return await bench(address, images, loads, options=options, on_result=results.append)


@asynccontextmanager
async def _server(spec: ModelSpec, cache: Path, data_dir: Path) -> AsyncIterator[str]:
    """A server of the model around the block, which gets its address."""
    from framemesh.mesh.demo import check_source, localised  # noqa: PLC0415 - a client has no mesh
    from framemesh.mesh.processes import model_server  # noqa: PLC0415
    from framemesh.mesh.servers import HOST, free_port  # noqa: PLC0415
    from framemesh.mesh.supervision import Supervisor  # noqa: PLC0415

    waiting = Console(stderr=True)
    waiting.print(f"starting a server of {spec.name}; preparing a new model takes a minute or two")
    spec = await localised(check_source(spec), data_dir.resolve() / "models" / "demo")
    port = free_port()
    env = lake_of_mesh(data_dir, os.environ)
    with TemporaryDirectory() as logs:
        async with Supervisor(Path(logs), on_event=lambda words: waiting.print(Text(words, "yellow"))) as supervisor:
            await supervisor.start(model_server(env, spec, 0, cache=cache, grpc_port=port, http_port=free_port()))
            yield f"{HOST}:{port}"


def _numbers(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdecimal() and 1 <= int(word) <= 4096 for word in words):
        raise typer.BadParameter(f"--concurrency can't be {text!r}: write numbers from 1 to 4096 such as 1,8")
    return [int(word) for word in words]


def _built_in() -> Path:
    try:
        return photo_folder() / _PHOTO
    except ConfigurationError as error:
        raise ConfigurationError(
            "the photo comes with scikit-image, which isn't here: name one with --image"
        ) from error


def _images(paths: list[Path]) -> list[bytes]:
    try:
        return [path.read_bytes() for path in paths]
    except OSError as error:
        raise InvalidImageError(f"can't read {error.filename!r}: {error.strerror}") from error


def _print(served: GetModelMetadataResponse, results: list[Measured]) -> None:
    console = Console()
    how = f"{served.task} on {served.runtime} {served.precision}, {served.preprocessing} preprocessing"
    console.print(Text(f"{served.model}: {how}"))
    if served.fallback_reason:
        console.print(Text(served.fallback_reason, "yellow"))
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("load", "answers/s", *(f"p{percent} ms" for percent in PERCENTILES), "errors"):
        table.add_column(title, justify="left" if title in {"load", "errors"} else "right")
    for result in results:
        milliseconds = (percentile(result.latencies, percent) for percent in PERCENTILES)
        table.add_row(
            str(result.load),
            f"{result.throughput:.1f}",
            *("-" if value is None else f"{value * 1e3:.1f}" for value in milliseconds),
            ", ".join(f"{count} {code}" for code, count in sorted(result.errors.items())) or "0",
        )
    console.print(table)
