"""`framemesh ingest`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from framemesh.cli.services import check_installed
from framemesh.cli.target import DEFAULT_DATA_DIR, DataDir
from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError
from framemesh.mesh.cameras import Cameras, check_cameras, named_cameras
from framemesh.mesh.joining import read_state

app = typer.Typer(no_args_is_help=True, help="Cameras: run them, and check what is written of them.")

_NEEDED = ("ingest", "av", "yaml", "pydantic_settings", "structlog", "aiohttp")


@app.command()
def run(
    cameras: Annotated[
        Path | None, typer.Option(help="A YAML file of cameras; they come, change and go as it does.")
    ] = None,
    camera: Annotated[
        list[str] | None,
        typer.Option(
            help="A camera as NAME=SOURCE, instead of a file; repeatable. SOURCE is a photo, a folder of photos, a "
            "video or a URL such as rtsp://10.0.0.7/main. Every user of this machine can see it, so a password belongs "
            "in a file."
        ),
    ] = None,
    fps: Annotated[float | None, typer.Option(min=0.001, max=240, help="Frames a second of each at most.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Run cameras until Ctrl-C: their frames go to NATS.

    FRAMEMESH_NATS_URL says where that is; without it, it is the NATS of the mesh which runs on the data directory.
    FRAMEMESH_HTTP_ADDRESS is where /metrics and /healthz are served; the reference lists all others. Frames that
    wait for NATS lie in the data directory's folder `spill`, unless FRAMEMESH_SPILL_FOLDER names another.
    """
    check_ingest("run")
    if (cameras is None) == (camera is None):
        raise ConfigurationError("name cameras either in a file, --cameras cameras.yaml, or with --camera NAME=SOURCE")
    if cameras is not None and fps is not None:
        raise ConfigurationError(f"--fps is for cameras named here: write it into {cameras}")
    chosen = Cameras(file=cameras.absolute()) if cameras is not None else named_cameras(camera or [], fps=fps)
    spill = {"FRAMEMESH_SPILL_FOLDER": str((data_dir / "spill").absolute())}  # `up` has its own cameras' there too
    variables = {**spill, **os.environ, **chosen.variables()}
    if not variables.get("FRAMEMESH_NATS_URL"):
        state = read_state(data_dir)
        if state is None:
            raise ConfigurationError(
                f"there is no NATS to send frames to: set FRAMEMESH_NATS_URL, or start a mesh on {data_dir} with "
                "`framemesh up`"
            )
        variables["FRAMEMESH_NATS_URL"] = state.nats_url
    check_cameras(chosen)
    os.execve(sys.executable, (sys.executable, "-m", "ingest"), variables)  # noqa: S606 - signals are the agent's own


@app.command()
def check(file: Annotated[Path, typer.Argument(help="A YAML file of cameras.")]) -> None:
    """Say what is wrong with a file of cameras, a line for each mistake; ends with 78 then."""
    check_ingest("check")
    try:
        names = check_cameras(Cameras(file=file))
    except ConfigurationError as error:
        typer.echo(str(error), err=True)  # bare, so that editors find the place
        raise typer.Exit(EXIT_CONFIGURATION) from None
    typer.echo(f"{file}: {len(names)} camera{'' if len(names) == 1 else 's'}{': ' * bool(names)}{', '.join(names)}")


def check_ingest(command: str) -> None:
    """Pass where camera agents can be started.

    Raises:
        ConfigurationError: Only the client library is installed.
    """
    check_installed(_NEEDED, f"ingest {command}", "run `pip install -e '.[ingest]'` in it")
