"""Waiting for the lake's tables, which are a little behind the streams that they are made of."""

import time

from framemesh.client import Client
from framemesh.errors import ConfigurationError

PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.25


def await_archive(client: Client) -> None:
    """Wait until the tables have all that the streams have now.

    Raises:
        ConfigurationError: They don't get it: nobody writes them.
    """
    wanted: dict[str, int] = {}
    missing, moved = None, time.monotonic()
    while True:
        tables = client.archive_progress()
        wanted = wanted or {table.table: table.newest_sequence for table in tables}
        waiting = sum(max(0, wanted[table.table] - table.archived_sequence) for table in tables)
        if not waiting:
            return
        if waiting != missing:
            missing, moved = waiting, time.monotonic()
        elif time.monotonic() > moved + PATIENCE_SECONDS:
            raise ConfigurationError(
                f"{waiting:,} rows don't get into the lake's tables: is an archiver running? `framemesh up` has one"
            )
        time.sleep(_POLL_SECONDS)
