"""The lake's tables are a few seconds behind the streams; whoever looks for what has just happened waits for them."""

import asyncio

from framemesh.client import AsyncClient
from framemesh.errors import FramemeshError

_POLL_SECONDS = 0.1


async def caught_up(client: AsyncClient, *, seconds: float) -> bool:
    """Have the archiver write what the tables lack of now; whether it has, within that time.

    It hasn't where none runs, or where the gateway can't be asked.
    """
    wanted: dict[str, int] = {}
    try:
        async with asyncio.timeout(seconds):
            while True:
                tables = await client.archive_progress(timeout=seconds)
                wanted = wanted or {table.table: table.newest_sequence for table in tables}
                if all(table.archived_sequence >= wanted.get(table.table, 0) for table in tables):
                    return True
                await asyncio.sleep(_POLL_SECONDS)
    except (FramemeshError, TimeoutError):
        return False
