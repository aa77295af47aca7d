"""`framemesh.v1.CameraService`: call, and hand the answer on."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from framemesh.v1 import camera_service_pb2 as pb2
from framemesh.v1.camera_service_pb2_grpc import CameraServiceServicer
from gateway.cameras import Cameras

Context = grpc.aio.ServicerContext[Any, Any]


class CameraApi(CameraServiceServicer):
    """`framemesh.v1.CameraService`."""

    def __init__(self, cameras: Cameras) -> None:
        self._cameras = cameras

    async def ListCameras(self, request: pb2.ListCamerasRequest, context: Context) -> pb2.ListCamerasResponse:
        """See `camera_service.proto`."""
        return pb2.ListCamerasResponse(cameras=self._cameras.cameras())

    async def WatchCameras(
        self, request: pb2.WatchCamerasRequest, context: Context
    ) -> AsyncIterator[pb2.WatchCamerasResponse]:
        """See `camera_service.proto`."""
        async for _ in self._cameras.changes():
            yield pb2.WatchCamerasResponse(cameras=self._cameras.cameras())
