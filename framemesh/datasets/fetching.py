"""Pictures from the lake: many on their way at once, handed on in the order in which they were asked for."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

from framemesh.errors import FrameNotFoundError, LakeUnavailableError
from framemesh.lake import Lake
from framemesh.waiting import Backoff, cancelled

T = TypeVar("T")

AT_ONCE = 16
"""Frames of at most 8 MiB held in memory."""
_PATIENCE_SECONDS = 60.0


async def fetched(
    lake: Lake, wanted: Iterable[T], key: Callable[[T], str]
) -> AsyncGenerator[tuple[T, bytes | None], None]:
    """Yield each of what is wanted with the object under its key; none where the lake has it no more.

    Raises:
        LakeUnavailableError: The lake is away, and was for a minute.
    """
    under_way: deque[tuple[T, asyncio.Task[bytes | None]]] = deque()
    try:
        for each in wanted:
            under_way.append((each, asyncio.create_task(_get(lake, key(each)))))
            if len(under_way) == AT_ONCE:
                first, task = under_way.popleft()
                yield first, await task
        while under_way:
            first, task = under_way.popleft()
            yield first, await task
    finally:
        await cancelled(*(task for _, task in under_way))


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What a request to the lake gives, asked again while the lake is away: an export may have taken hours by then.

    Raises:
        LakeUnavailableError: It was away for a minute.
    """
    backoff, patient_until = Backoff(0.5, 10), time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return await ask()
        except LakeUnavailableError:
            if time.monotonic() > patient_until:
                raise
            await asyncio.sleep(backoff.next_seconds())


async def _get(lake: Lake, key: str) -> bytes | None:
    try:
        body, _ = await patiently(lambda: lake.get(key))
    except FrameNotFoundError:
        return None
    return body
