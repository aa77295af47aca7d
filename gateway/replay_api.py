"""`framemesh.v1.ReplayService`: unpack the request, call, pack the answer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from framemesh.bus import Bus, archive, streams
from framemesh.errors import InvalidRequestError
from framemesh.v1 import replay_service_pb2 as replay_pb2
from framemesh.v1 import replay_service_pb2_grpc as replay_grpc
from gateway.replaying import DEFAULT_SHARE, Replayer

Context = grpc.aio.ServicerContext[Any, Any]

_TELL_SECONDS = 0.25
_TABLES = {"frames": streams.STORED, "results": streams.RESULTS}


class ReplayApi(replay_grpc.ReplayServiceServicer):
    """`framemesh.v1.ReplayService`."""

    def __init__(self, replayer: Replayer, bus: Bus) -> None:
        self._replayer = replayer
        self._bus = bus

    async def Replay(  # type: ignore[override]  # grpc.aio also takes handlers that write by themselves
        self, requests: AsyncIterator[replay_pb2.ReplayRequest], context: Context
    ) -> None:
        """See `replay_service.proto`."""
        first = await anext(requests, None)
        if first is None:
            raise InvalidRequestError("the call has no message: the first names the model", field="model")
        replay = self._replayer.begin(first.model, share=first.share or DEFAULT_SHARE, again=first.again)
        running = asyncio.create_task(replay.run(_keys(first, requests)))
        try:
            while not running.done():
                await asyncio.wait((running,), timeout=_TELL_SECONDS)
                await context.write(replay.progress())
        finally:
            running.cancel()
            await asyncio.wait((running,))
        running.result()

    async def GetArchiveProgress(
        self, request: replay_pb2.GetArchiveProgressRequest, context: Context
    ) -> replay_pb2.GetArchiveProgressResponse:
        """See `replay_service.proto`."""
        tables = []
        for table, stream in _TABLES.items():
            newest, archived = await archive.sequences(self._bus, table, stream)
            tables.append(replay_pb2.ArchivedTable(table=table, newest_sequence=newest, archived_sequence=archived))
        if any(table.archived_sequence < table.newest_sequence for table in tables):
            await archive.write_now(self._bus)
        return replay_pb2.GetArchiveProgressResponse(tables=tables)


async def _keys(first: replay_pb2.ReplayRequest, others: AsyncIterator[replay_pb2.ReplayRequest]) -> AsyncIterator[str]:
    for key in first.object_keys:
        yield key
    async for request in others:
        for key in request.object_keys:
            yield key
