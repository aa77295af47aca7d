"""`framemesh env`."""

import typer

from framemesh.cli.target import DEFAULT_DATA_DIR, DataDir
from framemesh.errors import ConfigurationError


def env(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Print where a running mesh is, as shell exports: eval "$(framemesh env)"."""
    from framemesh.mesh.state import read_state  # noqa: PLC0415 - needs more than a client has

    state = read_state(data_dir)
    if state is None:
        raise ConfigurationError(f"no mesh runs on {data_dir}: start one with `framemesh up`, or name its --data-dir")
    typer.echo(state.shell_exports())
