"""How the mesh is, asked of the gateway once for all pages that look at the same moment."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from framemesh.client import AsyncClient
from framemesh.v1.camera_pb2 import Camera
from framemesh.v1.status_service_pb2 import GetStatusResponse

LOOK_SECONDS = 2.0
_ANSWER_SECONDS = 5.0


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
    """Asks the gateway, but not again within two seconds.

    Args:
        client: The gateway, as one caller sees it.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._lock = asyncio.Lock()
        self._look: Look | None = None
        self._time = 0.0

    async def changes(self) -> AsyncIterator[Look]:
        """Yield the mesh as it is, at once and every two seconds.

        Raises:
            FramemeshError: The gateway does not answer.
        """
        while True:
            yield await self._newest()
            await asyncio.sleep(LOOK_SECONDS)

    async def _newest(self) -> Look:
        async with self._lock:
            if self._look is None or time.monotonic() - self._time >= LOOK_SECONDS / 2:
                status, cameras = await asyncio.gather(
                    self._client.status(timeout=_ANSWER_SECONDS), self._client.cameras(timeout=_ANSWER_SECONDS)
                )
                self._look, self._time = Look(status, cameras), time.monotonic()
            return self._look
