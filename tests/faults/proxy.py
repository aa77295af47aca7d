"""A TCP proxy that a test can slow down, stall and cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from framemesh.mesh.servers import HOST, free_port

_CHUNK = 65_536


class Proxy:
    """Carries bytes between its own port and another, for better or worse."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._delay = 0.0
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def mend(self) -> None:
        """Carry everything at once, from now on."""
        self._delay = 0.0
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, HOST, self.port, limit=_CHUNK)

    async def cut(self) -> None:
        """Break every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        carrying = list(self._carrying)
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)

    def stall(self) -> None:
        """Take connections and bytes, and pass nothing on."""
        self._flowing.clear()

    def slow(self, seconds: float) -> None:
        """Hold every piece up for so long."""
        self._delay = seconds

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):  # either end may break off, and so may a test
                there, back = await asyncio.open_connection(HOST, self._target, limit=_CHUNK)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._pass_on(reader, back))
                        group.create_task(self._pass_on(there, writer))
                except* OSError:
                    pass
                finally:
                    back.transport.abort()
        finally:
            writer.transport.abort()
            self._carrying.discard(task)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            await self._flowing.wait()
            if self._delay:
                await asyncio.sleep(self._delay)
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError  # one end is gone: the other must not wait for it


@asynccontextmanager
async def proxy(target: int) -> AsyncIterator[Proxy]:
    """A proxy before a port, around the block."""
    made = Proxy(target)
    await made.mend()
    try:
        yield made
    finally:
        made.stall()
        await made.cut()
