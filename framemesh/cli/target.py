"""Which gateway a command talks to, and how it gets in."""

import os
from pathlib import Path
from typing import Annotated

import typer

from framemesh.client import Client
from framemesh.errors import ConfigurationError, ModelNotFoundError
from framemesh.mesh.joining import read_state
from framemesh.rpc.channels import Tls
from framemesh.v1.model_pb2 import Model

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


def open_client(address: str | None, data_dir: Path) -> Client:
    """A client of the gateway at the address given, or of the mesh which runs on the data directory.

    Raises:
        ConfigurationError: Neither is there, or a token would go to another machine in plain text.
    """
    if address:
        ca_file = os.environ.get("FRAMEMESH_TLS_CA_FILE")
        tls: Tls = Path(ca_file) if ca_file else None
        if address.startswith("https://"):
            tls = tls or True
        elif address.startswith("http://"):
            tls = False
        place = address.removeprefix("https://").removeprefix("http://").rstrip("/")
        token = os.environ.get("FRAMEMESH_TOKEN", "").strip()  # never an option: every user of a machine sees those
        return Client(place, token=token or None, tls=tls)
    state = read_state(data_dir)
    if state is None:
        raise ConfigurationError(
            f"no mesh runs on {data_dir}: start one with `framemesh up`, or name a gateway with --address host:port"
        )
    return Client(state.address, token=state.token or None, tls=Path(state.tls_ca_file) if state.tls_ca_file else None)


def deployed_model(client: Client, name: str) -> Model:
    """A model as it is.

    Raises:
        ModelNotFoundError: It isn't deployed; the message names those that are.
    """
    found = {each.spec.name: each for each in client.models()}
    if name not in found:
        raise ModelNotFoundError(f"no model {name!r}; deployed: {', '.join(found) or 'none'}")
    return found[name]
