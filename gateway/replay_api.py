"""`framemesh.v1.ReplayService`: unpack the request, call, pack the answer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from framemesh.bus import Bus, archive
from framemesh.bus.states import stream_state
from framemesh.errors import InvalidRequestError
from framemesh.v1 import replay_service_pb2 as replay_pb2
from framemesh.v1 import replay_service_pb2_grpc as replay_grpc
from framemesh.waiting import cancelled
from gateway.replaying import DEFAULT_SHARE, Replayer

Context = grpc.aio.ServicerContext[Any, Any]

_TELL_SECONDS = 0.25
_MOST_KEYS = 1000


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
            await context.write(replay.progress())  # it has begun: the caller may send on
            while not running.done():
                await asyncio.wait((running,), timeout=_TELL_SECONDS)
                await context.write(replay.progress())
        finally:
            await cancelled(running)
        running.result()

    async def GetArchiveProgress(
        self, request: replay_pb2.GetArchiveProgressRequest, context: Context
    ) -> replay_pb2.GetArchiveProgressResponse:
        """See `replay_service.proto`."""
        tables = []
        for table, name in archive.TABLES.items():
            stream = await stream_state(self._bus, name)
            archived = await archive.archived_until(self._bus, table, stream)
            tables.append(
                replay_pb2.ArchivedTable(table=table, newest_sequence=stream.last, archived_sequence=archived)
            )
        if any(table.archived_sequence < table.newest_sequence for table in tables):
            await archive.write_now(self._bus)
        return replay_pb2.GetArchiveProgressResponse(tables=tables)


async def _keys(first: replay_pb2.ReplayRequest, others: AsyncIterator[replay_pb2.ReplayRequest]) -> AsyncIterator[str]:
    """The keys of all messages.

    Raises:
        InvalidRequestError: One has too many.
    """
    request: replay_pb2.ReplayRequest | None = first
    while request is not None:
        if len(request.object_keys) > _MOST_KEYS:
            raise InvalidRequestError(
                f"a message has {len(request.object_keys):,} keys: send at most {_MOST_KEYS:,}",
                field="object_keys",
            )
        for key in request.object_keys:
            yield key
        request = await anext(others, None)
