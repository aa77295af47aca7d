"""Waiting, but not for ever, and not in step with others."""

import asyncio
import random
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

_AGAIN_SECONDS = 0.5
_MOST_DOUBLINGS = 32  # far beyond every bound; a thousand would overflow a float


async def happens(event: asyncio.Event, *, within: float) -> bool:
    """Wait for an event, at most so many seconds; whether it has happened."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await event.wait()
    return event.is_set()


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended.

    They are cancelled again and again: before Python 3.12 `asyncio.wait_for`, and nats-py with it, forgets a
    cancellation that comes at the same moment as what it waits for.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_SECONDS)


async def until_set(event: asyncio.Event, *endless: Coroutine[Any, Any, None]) -> None:
    """Run what has no end of its own, side by side, until the event; an error of one ends the others and comes out.

    Raises:
        ExceptionGroup: Of that error.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in endless]
        await event.wait()
        await cancelled(*tasks)


def jittered(seconds: float) -> float:
    """Between half of it and all: so that those who failed together don't all try again together."""
    return random.uniform(0.5, 1.0) * seconds  # noqa: S311 - no secret


def backed_off(failures: int, first_seconds: float, longest_seconds: float) -> float:
    """How long to wait after so many failures in a row, from 1: twice as long each time, with jitter, up to a bound."""
    return jittered(min(longest_seconds, first_seconds * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)))


class Backoff:
    """How long to wait between tries that fail, for whoever doesn't count the failures: see `backed_off`.

    Args:
        first_seconds: Before the second try, less up to a half.
        longest_seconds: What no wait exceeds.
    """

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._failures = 0

    def next_seconds(self) -> float:
        """The wait after one more failure."""
        self._failures += 1
        return backed_off(self._failures, self._first, self._longest)

    def reset(self) -> None:
        """It has worked: the next failure is the first again."""
        self._failures = 0
