"""How the mesh is, asked of the gateway once for all pages that look at the same moment."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from framemesh.client import AsyncClient
from framemesh.v1.camera_pb2 import Camera
from framemesh.v1.status_service_pb2 import GetStatusResponse

LOOK_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
"""After so long without an answer the gateway hangs: a stream that stays silent tells it after 40 s only."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Look:
    """The mesh at one moment.

    Attributes:
        status: As `framemesh status` has it.
        cameras: Those whose agents are heard, by name.
    """

    status: GetStatusResponse
    cameras: list[Camera]


class Looking:
    """Asks the gateway while anybody looks, every two seconds.

    Args:
        client: The gateway, as one caller sees it.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._looks = _Shared(self._look)
        self._pulse = _Shared(self._beat)

    def changes(self) -> AsyncIterator[Look]:
        """Yield the mesh as it is, at once and every two seconds.

        Raises:
            FramemeshError: The gateway does not answer.
        """
        return self._looks.answers()

    def pulse(self) -> AsyncIterator[None]:
        """Yield at once and every two seconds, as long as the gateway answers: what costs it least shows that.

        Raises:
            FramemeshError: It does not.
        """
        return self._pulse.answers()

    async def _look(self) -> Look:
        return Look(
            *await asyncio.gather(
                self._client.status(timeout=_ANSWER_SECONDS), self._client.cameras(timeout=_ANSWER_SECONDS)
            )
        )

    async def _beat(self) -> None:
        await self._client.cameras(timeout=_ANSWER_SECONDS)


class _Shared(Generic[Answer]):
    """A question that is asked once for all who want its answer at the same moment: all hear it, or why there is none.

    Args:
        question: Asks it; it ends within seconds.
    """

    def __init__(self, question: Callable[[], Awaitable[Answer]]) -> None:
        self._question = question
        self._asking: asyncio.Future[Answer] | None = None
        self._asked_at = 0.0

    async def answers(self) -> AsyncIterator[Answer]:
        """Yield the answer, at once and every two seconds; an error of the question's ends it."""
        while True:
            yield await self._newest()
            await asyncio.sleep(LOOK_SECONDS)

    async def _newest(self) -> Answer:
        now = time.monotonic()
        asking = self._asking
        if asking is None or (asking.done() and now - self._asked_at >= LOOK_SECONDS / 2):
            asking = self._asking = asyncio.ensure_future(self._question())
            self._asked_at = now
        return await asyncio.shield(asking)  # who leaves takes nobody else's answer along
