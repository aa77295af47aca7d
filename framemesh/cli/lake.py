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

if TYPE_CHECKING:  # a client may be installed without them
    from framemesh.query import LakeTables

FIRST, LAST = "2000-01-01", "2262-04-11"
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
    missing = next((name for name in ("duckdb", "pyarrow") if find_spec(name) is None), None)
    if missing is not None:
        raise ConfigurationError(f"this needs {missing}: run `pip install -e '.[query]'` in framemesh's checkout")
    from framemesh.query import LakePlace, tables  # noqa: PLC0415 - see above

    known = {**os.environ, **lake_of_mesh(data_dir, os.environ)}
    try:
        place = LakePlace(
            known["FRAMEMESH_S3_ENDPOINT"],
            known["FRAMEMESH_S3_ACCESS_KEY"],
            known["FRAMEMESH_S3_SECRET_KEY"],
            known.get("FRAMEMESH_S3_REGION") or "us-east-1",
        )
    except KeyError as missing_name:
        raise ConfigurationError(
            f"no mesh runs on {data_dir} and {missing_name.args[0]} is not set: start a mesh with `framemesh up`, or "
            "set FRAMEMESH_S3_ENDPOINT, FRAMEMESH_S3_ACCESS_KEY and FRAMEMESH_S3_SECRET_KEY"
        ) from None
    with tables(place) as opened:
        yield opened
