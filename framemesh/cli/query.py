"""`framemesh query`."""

from typing import Annotated

import typer

from framemesh.cli.lake import lake_tables
from framemesh.cli.rows import show
from framemesh.cli.target import DEFAULT_DATA_DIR, AsJson, DataDir


def query(
    sql: Annotated[
        str, typer.Argument(help="A statement for DuckDB, on `frames`, `results`, `shadows` and `corrections`.")
    ],
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Ask the lake in SQL about stored frames, results and corrections.

    "DESCRIBE frames" and such list the columns; docs/lake.md says what they mean.
    """
    with lake_tables(data_dir) as tables:
        show(tables.ask(sql), as_json=as_json)
