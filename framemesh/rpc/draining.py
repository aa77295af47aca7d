"""How a server ends: it takes no new calls, and those under way are answered."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from framemesh.errors import ModelUnavailableError

_QUIET_SECONDS = 0.5
_LONGEST_WAIT_FOR_QUIET_SECONDS = 2.0  # for callers that go on asking


def stopping() -> ModelUnavailableError:
    """What a call that a draining server does not take, or cuts, is told."""
    return ModelUnavailableError("the server is draining: ask another, or this one again in a moment")


class Calls:
    """The calls of our own services: how many are under way, and whether new ones are taken."""

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        self._under_way = 0
        self._newest = 0.0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Count the call that the block answers.

        Raises:
            ModelUnavailableError: The server drains.
        """
        self._newest = time.monotonic()
        if self.draining.is_set():
            raise stopping()
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def settled(self, drain_seconds: float) -> None:
        """Wait until no call is under way and none comes in any more, or the time is up.

        Calls that have reached this machine already wait in gRPC's own queue. `Server.stop` would leave them there
        until it cuts them, so they are taken up first, to be refused with a status that says what to do.
        """
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < drain_seconds:
            quiet = time.monotonic() - max(self._newest, started)
            if not self._under_way and (quiet >= _QUIET_SECONDS or elapsed >= _LONGEST_WAIT_FOR_QUIET_SECONDS):
                return
            await asyncio.sleep(_QUIET_SECONDS / 10)


class UntilDraining:
    """What comes of a stream until the server drains; `cut` says whether that ended it."""

    def __init__(self, stream: AsyncIterator[Any], draining: asyncio.Event) -> None:
        self._stream = stream
        self._draining = draining
        self.cut = False

    async def items(self) -> AsyncGenerator[Any, None]:
        """The stream, or as much of it as comes before."""
        drained = asyncio.create_task(self._draining.wait())
        try:
            while not self.cut:
                coming = asyncio.ensure_future(anext(self._stream))
                try:
                    await asyncio.wait((coming, drained), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not coming.done():
                        coming.cancel()
                        await asyncio.wait((coming,))
                if coming.cancelled():
                    self.cut = True
                else:
                    yield coming.result()
        except StopAsyncIteration:
            pass
        finally:
            drained.cancel()
