"""A stream of requests and the stream of their responses, in the order in which these are ready."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from framemesh.service import leaves

Request = TypeVar("Request")
Response = TypeVar("Response")


async def exchange(
    requests: AsyncIterator[Request],
    answer: Callable[[Request], Awaitable[Response]],
    write: Callable[[Response], Awaitable[None]],
    *,
    at_once: int,
) -> None:
    """Answer each request; read no further while `at_once` of them have no written response yet."""
    free = asyncio.Semaphore(at_once)
    writing = asyncio.Lock()  # gRPC takes one message of a call at a time

    async def one(request: Request) -> None:
        try:
            response = await answer(request)
            async with writing:
                await write(response)
        finally:
            free.release()

    try:
        async with asyncio.TaskGroup() as group:
            await free.acquire()
            async for request in requests:
                group.create_task(one(request))
                await free.acquire()
    except BaseExceptionGroup as several:
        raise next(leaves(several)) from None
