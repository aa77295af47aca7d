"""Stored frames, run through a model again."""

from collections.abc import AsyncGenerator, Generator, Iterable

import grpc

from framemesh.client.parts import REGISTRY_SECONDS, AsyncPart, Part, reporting_errors
from framemesh.replaying import Done, paced, replay_requests
from framemesh.v1.replay_service_pb2 import ArchivedTable, GetArchiveProgressRequest, ReplayResponse
from framemesh.v1.replay_service_pb2_grpc import ReplayServiceStub

REPLAY_SHARE = 0.5


class AsyncReplays(AsyncPart):
    """`ReplayService`, for asyncio."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._replay = ReplayServiceStub(channel)

    async def replay(
        self, model: str, object_keys: Iterable[str], *, share: float = REPLAY_SHARE, again: bool = False
    ) -> AsyncGenerator[ReplayResponse, None]:
        """Run a model over stored frames; yields how far it has come, a few times a second and at the end.

        Args:
            model: Name of a deployed model.
            object_keys: Keys of the frames, taken at the pace of the answers: they may be millions.
            share: The most of the model's capacity that it takes while live frames come, from 0.01 to 1.
            again: Whether frames that were answered minutes ago are answered anew.
        """
        with reporting_errors():
            done = Done()
            requests = replay_requests(model, object_keys, share=share, again=again)
            call = self._replay.Replay(paced(requests, done))
            try:
                async for response in call:
                    done.note(response)
                    yield response
            finally:
                call.cancel()

    async def archive_progress(self, *, timeout: float = REGISTRY_SECONDS) -> list[ArchivedTable]:
        """How far the lake's tables are behind their streams; what is missing is written at once."""
        return list((await self._ask(self._replay.GetArchiveProgress, GetArchiveProgressRequest(), timeout)).tables)


class Replays(Part):
    """`ReplayService`, for threads."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._replay = ReplayServiceStub(channel)

    def replay(
        self, model: str, object_keys: Iterable[str], *, share: float = REPLAY_SHARE, again: bool = False
    ) -> Generator[ReplayResponse, None, None]:
        """See `AsyncClient.replay`. The keys are taken in another thread; closing the iterator ends the replay."""
        with reporting_errors():
            call = self._replay.Replay(replay_requests(model, object_keys, share=share, again=again))
            try:
                yield from call
            finally:
                call.cancel()

    def archive_progress(self, *, timeout: float = REGISTRY_SECONDS) -> list[ArchivedTable]:
        """See `AsyncClient.archive_progress`."""
        return list(self._ask(self._replay.GetArchiveProgress, GetArchiveProgressRequest(), timeout).tables)
