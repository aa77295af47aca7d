"""The gRPC service for corrections: unpack the request, call, pack the answer."""

from typing import Any

import grpc

from framemesh.v1 import correction_service_pb2 as pb2
from framemesh.v1.correction_service_pb2_grpc import CorrectionServiceServicer
from gateway.access import caller
from gateway.correcting import Corrector
from gateway.listing import limit_of

Context = grpc.aio.ServicerContext[Any, Any]


class CorrectionApi(CorrectionServiceServicer):
    """`framemesh.v1.CorrectionService`."""

    def __init__(self, corrector: Corrector) -> None:
        self._corrector = corrector

    async def CorrectFrame(self, request: pb2.CorrectFrameRequest, context: Context) -> pb2.CorrectFrameResponse:
        """See `correction_service.proto`."""
        return pb2.CorrectFrameResponse(correction=await self._corrector.correct(request, author=caller()))

    async def RemoveCorrection(
        self, request: pb2.RemoveCorrectionRequest, context: Context
    ) -> pb2.RemoveCorrectionResponse:
        """See `correction_service.proto`."""
        gone = await self._corrector.remove(request.frame_id, request.task, author=caller())
        return pb2.RemoveCorrectionResponse(corrections=gone)

    async def ListCorrections(
        self, request: pb2.ListCorrectionsRequest, context: Context
    ) -> pb2.ListCorrectionsResponse:
        """See `correction_service.proto`."""
        found = await self._corrector.newest(
            camera=request.camera, frame_id=request.frame_id, limit=limit_of(request.limit)
        )
        return pb2.ListCorrectionsResponse(corrections=found)
