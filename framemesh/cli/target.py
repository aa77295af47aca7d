"""Which gateway a command talks to."""

from pathlib import Path
from typing import Annotated

import typer

from framemesh.errors import ConfigurationError
from framemesh.mesh.joining import read_state

DEFAULT_DATA_DIR = Path("framemesh-data")

DataDir = Annotated[
    Path,
    typer.Option("--data-dir", envvar="FRAMEMESH_DATA_DIR", help="Where the mesh keeps everything."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar="FRAMEMESH_ADDRESS",
        help="The gateway's gRPC address as host:port; without it, that of the mesh on the data directory.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document a line, for programs.")]


def gateway_address(address: str | None, data_dir: Path) -> str:
    """The address given, or that of the mesh which runs on the data directory.

    Raises:
        ConfigurationError: Neither is there.
    """
    if address:
        return address
    state = read_state(data_dir)
    if state is None:
        raise ConfigurationError(
            f"no mesh runs on {data_dir}: start one with `framemesh up`, or name a gateway with --address host:port"
        )
    return state.address
