"""Following a key-value bucket as a whole."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

import nats.errors
import structlog

from framemesh.bus.connection import Bus

log = structlog.get_logger()

_RESYNC_SECONDS = 15.0
_INACTIVE_SECONDS = 30.0
"""How long the server keeps a watcher's consumer that nobody listens to; nats-py asks for five minutes."""
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 0.5


class Entry(NamedTuple):
    """A key's value, and the bucket's revision that wrote it: it goes up with each write."""

    value: bytes
    revision: int


async def snapshots(bus: Bus, bucket: str) -> AsyncGenerator[dict[str, bytes], None]:
    """Yield the bucket's whole content, as `entries` does, without the revisions."""
    async with aclosing(entries(bus, bucket)) as following:
        async for content in following:
            yield {key: entry.value for key, entry in content.items()}


async def entries(bus: Bus, bucket: str) -> AsyncGenerator[dict[str, Entry], None]:
    """Yield the bucket's whole content, at once and after each change, across server restarts.

    The bucket is read anew after each reconnection, and every 15 s: nats-py's watcher does not say when it has lost its
    consumer. Nor is its word taken that all was read: where the server counts as sent what has not arrived, that
    comes first, and an empty bucket would mean that no model is wanted any more.
    """
    while not bus.closed.is_set():
        connection, resync = bus.connections, time.monotonic() + _RESYNC_SECONDS
        try:
            store = await bus.js.key_value(bucket)
            watcher = await store.watchall(inactive_threshold=_INACTIVE_SECONDS)
        except (nats.errors.Error, TimeoutError) as error:
            log.debug("nats.watch_again", bucket=bucket, error=str(error))
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        content: dict[str, Entry] = {}
        complete = False
        try:
            while connection == bus.connections and time.monotonic() < resync:
                try:
                    entry = await watcher.updates(timeout=_LOOK_SECONDS)  # type: ignore[no-untyped-call]
                    if entry is None and (complete or (await store.status()).values > 0):
                        continue
                except (nats.errors.Error, TimeoutError):
                    continue
                complete = complete or entry is None or entry.delta == 0
                if entry and entry.operation is None:
                    content[entry.key] = Entry(entry.value or b"", entry.revision)
                elif entry:
                    content.pop(entry.key, None)
                if complete:
                    yield dict(content)
        finally:
            if bus.client.is_connected:
                await watcher.stop()  # type: ignore[no-untyped-call]
