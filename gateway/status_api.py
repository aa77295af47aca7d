"""`framemesh.v1.StatusService`: call, and hand the answer on."""

from typing import Any

import grpc

from framemesh.v1.status_service_pb2 import GetStatusRequest, GetStatusResponse
from framemesh.v1.status_service_pb2_grpc import StatusServiceServicer
from gateway.status import Status

Context = grpc.aio.ServicerContext[Any, Any]


class StatusApi(StatusServiceServicer):
    """`framemesh.v1.StatusService`."""

    def __init__(self, status: Status) -> None:
        self._status = status

    async def GetStatus(self, request: GetStatusRequest, context: Context) -> GetStatusResponse:
        """See `status_service.proto`."""
        return await self._status.look()
