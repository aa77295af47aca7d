"""Waiting, but not for ever, and not in step with others."""

import asyncio
import random
from contextlib import suppress


async def happens(event: asyncio.Event, *, within: float) -> bool:
    """Wait for an event, at most so many seconds; whether it has happened."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await event.wait()
    return event.is_set()


def jittered(seconds: float) -> float:
    """Between half of it and all: so that those who failed together don't all try again together."""
    return random.uniform(0.5, 1.0) * seconds  # noqa: S311 - no secret
