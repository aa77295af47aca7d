"""`framemesh env`."""

import typer

from framemesh.cli.target import DEFAULT_DATA_DIR, DataDir
from framemesh.errors import ConfigurationError
from framemesh.mesh.joining import read_state


def env(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Print where a running mesh is, as shell exports: eval "$(framemesh env)"."""
    state = read_state(data_dir)
    if state is None:
        raise ConfigurationError(f"no mesh runs on {data_dir}: start one with `framemesh up`, or name its --data-dir")
    typer.echo(state.shell_exports())
