"""Which gateway a command talks to, and how it gets in."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from framemesh.client import Client
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
        help="The gateway's gRPC address as host:port, or https://host:port where it speaks TLS; without it, that of "
        "the mesh on the data directory. Set FRAMEMESH_TOKEN to a token where it wants one, and FRAMEMESH_TLS_CA_FILE "
        "to its authority's file where that is a private one.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document a line, for programs.")]


def open_client(address: str | None, data_dir: Path, env: Mapping[str, str] = os.environ) -> Client:
    """A client of the gateway at the address given, or of the mesh which runs on the data directory.

    Raises:
        ConfigurationError: Neither is there, or a token would go to another machine in plain text.
    """
    token = env.get("FRAMEMESH_TOKEN", "").strip() or None  # never an option: every user of a machine sees those
    ca_file = env.get("FRAMEMESH_TLS_CA_FILE")
    if address:
        scheme, _, place = address.rpartition("://")
        tls = {"": None, "http": False, "https": True}.get(scheme)
        return Client(place, token=token, tls=Path(ca_file) if ca_file and tls is not False else tls)
    state = read_state(data_dir)
    if state is None:
        raise ConfigurationError(
            f"no mesh runs on {data_dir}: start one with `framemesh up`, or name a gateway with --address host:port"
        )
    own_ca = ca_file or state.tls_ca_file
    return Client(state.address, token=token or state.token or None, tls=Path(own_ca) if own_ca else None)
