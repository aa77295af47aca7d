"""How the mesh is."""

import grpc

from framemesh.client.parts import AsyncPart, Part
from framemesh.v1.status_service_pb2 import GetStatusRequest, GetStatusResponse
from framemesh.v1.status_service_pb2_grpc import StatusServiceStub

STATUS_SECONDS = 15.0


class AsyncStatus(AsyncPart):
    """`StatusService`, for asyncio."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._status = StatusServiceStub(channel)

    async def status(self, *, timeout: float = STATUS_SECONDS) -> GetStatusResponse:
        """What waits where in the mesh, and what is wrong with it."""
        return await self._ask(self._status.GetStatus, GetStatusRequest(), timeout)


class Status(Part):
    """`StatusService`, for threads."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._status = StatusServiceStub(channel)

    def status(self, *, timeout: float = STATUS_SECONDS) -> GetStatusResponse:
        """See `AsyncClient.status`."""
        return self._ask(self._status.GetStatus, GetStatusRequest(), timeout)
