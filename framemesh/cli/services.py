"""What commands share that start a service's program, rather than call one that runs."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from framemesh.errors import ConfigurationError
from framemesh.mesh.joining import read_state

Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        envvar="FRAMEMESH_MODEL_CACHE",
        help="Folder of prepared models; without it, that of the mesh on the data directory.",
    ),
]

_NEEDED = ("model_server", "pydantic_settings", "structlog", "aiohttp", "numpy")


def check_model_server(command: str) -> None:
    """Pass where a model server's programs can be started.

    Raises:
        ConfigurationError: Only the client library is installed.
    """
    check_installed(_NEEDED, command, "run `make demo`")


def check_installed(needed: Sequence[str], command: str, mend: str) -> None:
    """Pass where a command's modules are installed; `mend` says what to do in a clone of the repository.

    Raises:
        ConfigurationError: One isn't.
    """
    missing = next((name for name in needed if find_spec(name) is None), None)
    if missing is not None:
        raise ConfigurationError(
            f"`framemesh {command}` needs {missing}, which a client does not: clone the repository and {mend}"
        )


def prepared_models(cache: Path | None, data_dir: Path) -> Path:
    """The folder of prepared models: the one given, or that of the mesh on the data directory."""
    return (cache or data_dir / "models" / "prepared").resolve()


def lake_of_mesh(data_dir: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Where the lake is of the mesh on the data directory; nothing where none runs, or the environment says it."""
    state = read_state(data_dir)
    if state is None or environment.get("FRAMEMESH_S3_ENDPOINT"):
        return {}
    return state.lake()
