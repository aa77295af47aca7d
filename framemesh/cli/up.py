"""`framemesh up`."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from framemesh.cli.target import DEFAULT_DATA_DIR, DataDir
from framemesh.errors import ConfigurationError


def up(
    cameras: Annotated[
        str,
        typer.Option(
            help="A number of demo cameras, 'none', a file as cameras.yaml, or NAME=SOURCE,... of photos, folders of "
            "photos, videos or URLs such as rtsp://10.0.0.7/main."
        ),
    ] = "3",
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A model to run, as [NAME=]SOURCE and, in the same word, any of ,task=TASK ,runtime=onnx|torch "
            ",precision=fp32|int8|fp16|bf16 ,policy=every|latest|fps=N ,start=TIME ,replicas=N ,revision=R ,camera=C "
            "and, for what a zero-shot model looks for, ,label=WORDS. SOURCE is a Hugging Face id, a folder, "
            "lake://models/NAME/VERSION or demo:efficientnet-lite0. Repeatable. Without it, the models of the last "
            "time, or else the demo's two; 'none' runs none, until the console or `framemesh deploy` asks for some."
        ),
    ] = None,
    policy: Annotated[
        str, typer.Option(help="Policy of the models that name none: every, latest or fps=N.")
    ] = "latest",
    fps: Annotated[
        float | None,
        typer.Option(help="Frames a second of each camera at most; unset, 30 of photos, else the source's."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="Size of the cameras' frames in pixels; unset, 1280x720 of photos, else the source's."),
    ] = None,
    duration: Annotated[float | None, typer.Option(min=0.1, help="Seconds to run; without it, until Ctrl-C.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write what happened, counted from the stores, as JSON.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    drain_seconds: Annotated[
        float, typer.Option(min=0, help="How long frames may take to be answered at the end.")
    ] = 60.0,
    nats_port: Annotated[int, typer.Option(min=0, max=65535, help="NATS's port; 0 is any free one.")] = 0,
    s3_port: Annotated[int, typer.Option(min=0, max=65535, help="The S3 server's port.")] = 0,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="The gateway's gRPC port.")] = 0,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="The gateway's port for /metrics and /healthz.")] = 0,
    console_port: Annotated[int, typer.Option(min=0, max=65535, help="The console's port, for a browser.")] = 0,
    observe: Annotated[bool, typer.Option("--observe", help="Run Prometheus too, with framemesh's alerts.")] = False,
    prometheus_port: Annotated[int, typer.Option(min=0, max=65535, help="Prometheus's port.")] = 0,
) -> None:
    """Run everything on this machine: NATS, S3, gateway, model servers, console and cameras.

    FRAMEMESH_NATS_URL, and FRAMEMESH_S3_ENDPOINT with its FRAMEMESH_S3_ACCESS_KEY and FRAMEMESH_S3_SECRET_KEY, name
    servers that run elsewhere. FRAMEMESH_TLS_CERT_FILE and FRAMEMESH_TLS_KEY_FILE encrypt the gateway's port with a
    certificate that names 127.0.0.1; FRAMEMESH_TOKENS_FILE says who may call. Other FRAMEMESH_ variables go on to the
    services too.
    """
    try:
        from rich.console import Console  # noqa: PLC0415 - what only this command needs

        from framemesh.mesh.app import run_mesh  # noqa: PLC0415
        from framemesh.mesh.cameras import parse_cameras  # noqa: PLC0415
        from framemesh.mesh.demo import check_source  # noqa: PLC0415
        from framemesh.mesh.door import Door  # noqa: PLC0415
        from framemesh.mesh.options import ExternalServers, MeshOptions, Ports  # noqa: PLC0415
        from framemesh.specs import parse, parse_policy  # noqa: PLC0415
        from framemesh.telemetry import logs  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"`framemesh up` needs {error.name}, which a client does not: clone the repository and run `make demo`"
        ) from error
    chosen = parse_policy(policy)
    named = [] if model == ["none"] else model or []
    options = MeshOptions(
        data_dir=data_dir,
        cameras=parse_cameras(cameras, fps=fps, size=size),
        models=tuple(check_source(parse(text, default_policy=chosen)) for text in named) if model else None,
        policy=chosen,
        duration=duration,
        report=report,
        drain_seconds=drain_seconds,
        ports=Ports(nats_port, s3_port, grpc_port, http_port, console_port, prometheus_port),
        external=ExternalServers.from_environment(os.environ),
        door=Door.from_environment(os.environ),
        observe=observe,
    )
    log_file = data_dir / "logs" / "mesh.log"
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        stream = log_file.open("a", buffering=1)
    except OSError as error:
        raise ConfigurationError(
            f"can't use the data directory {data_dir}: {error.strerror}; choose another with --data-dir"
        ) from error
    with stream:
        logs.configure("info", service="mesh", stream=stream)
        console = Console()
        console.soft_wrap = not console.is_terminal  # for whoever searches what it says, a line is a line
        asyncio.run(run_mesh(options, console))
