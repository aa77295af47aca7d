"""What the commands share that read the lake's tables."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framemesh.cli.services import lake_of_mesh
from framemesh.errors import ConfigurationError
from framemesh.times import EARLIEST, LATEST

if TYPE_CHECKING:  # a client may be installed without them
    from framemesh.query import LakePlace, LakeTables

FIRST, LAST = (f"{time:%Y-%m-%d}" for time in (EARLIEST, LATEST))
"""All times that a frame's id can tell."""

Since = Annotated[
    str, typer.Option(help="Taken since: 90s, 15m, 2h or 7d ago, or 2026-01-31T07:30 (UTC).", show_default=False)
]
Until = Annotated[str, typer.Option(help="Taken until, written alike.", show_default=False)]


@contextmanager
def lake_tables(data_dir: Path) -> "Iterator[LakeTables]":
    """The tables of the lake that the environment names, or of the mesh on the data directory.

    Raises:
        ConfigurationError: Neither is there, or what reads tables isn't installed.
    """
    place = lake_place(data_dir)
    from framemesh.query import tables  # noqa: PLC0415 - it is there: see below

    with tables(place) as opened:
        yield opened


def lake_place(data_dir: Path) -> "LakePlace":
    """Where the lake is that the environment names, or that of the mesh on the data directory.

    Raises:
        ConfigurationError: As `lake_tables`.
    """
    missing = next((name for name in ("duckdb", "pyarrow") if find_spec(name) is None), None)
    if missing is not None:
        raise ConfigurationError(f"this needs {missing}: run `pip install -e '.[query]'` in framemesh's checkout")
    from framemesh.query import LakePlace  # noqa: PLC0415 - see above

    try:
        return LakePlace.from_environment({**os.environ, **lake_of_mesh(data_dir, os.environ)})
    except ConfigurationError as error:
        raise ConfigurationError(f"no mesh runs on {data_dir} and {error}; `framemesh up` starts a mesh") from None
