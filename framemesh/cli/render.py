"""`framemesh render`."""

import subprocess
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError, InternalError
from framemesh.specs import SYNTAX, parse

_NEEDED = ("deployer", "pydantic_settings", "yaml")


def render(model: Annotated[str, typer.Argument(metavar="MODEL", help=f"The model, as {SYNTAX}.")]) -> None:
    """Print a model's Kubernetes objects as YAML, for those who apply them by GitOps instead of `deploy`.

    The variables that set up the deployer say which namespace, images, Secrets and sizes they have.
    """
    missing = next((name for name in _NEEDED if find_spec(name) is None), None)
    if missing is not None:
        raise ConfigurationError(
            f"`framemesh render` needs {missing}, which a client does not: clone the repository and run `make demo`"
        )
    parse(model)  # its own words are the best
    done = subprocess.run((sys.executable, "-m", "deployer.kubernetes.rendering", "--", model), check=False)
    if done.returncode not in {0, EXIT_CONFIGURATION}:
        raise InternalError(f"rendering ended with {done.returncode}: the lines above say why")
    raise typer.Exit(done.returncode)
