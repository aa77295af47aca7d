"""How the cameras are."""

from collections.abc import AsyncIterator, Iterator

import grpc

from framemesh.client.parts import REGISTRY_SECONDS, AsyncPart, Part, reporting_errors
from framemesh.v1.camera_pb2 import Camera
from framemesh.v1.camera_service_pb2 import ListCamerasRequest, WatchCamerasRequest
from framemesh.v1.camera_service_pb2_grpc import CameraServiceStub


class AsyncCameras(AsyncPart):
    """`CameraService`, for asyncio."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._cameras = CameraServiceStub(channel)

    async def cameras(self, *, timeout: float = REGISTRY_SECONDS) -> list[Camera]:
        """How the cameras are whose agents are heard, by name."""
        return list((await self._ask(self._cameras.ListCameras, ListCamerasRequest(), timeout)).cameras)

    async def watch_cameras(self) -> AsyncIterator[list[Camera]]:
        """Yield how the cameras are, at once and as their agents say more, until the caller stops."""
        with reporting_errors():
            async for response in self._cameras.WatchCameras(WatchCamerasRequest()):
                yield list(response.cameras)


class Cameras(Part):
    """`CameraService`, for threads."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._cameras = CameraServiceStub(channel)

    def cameras(self, *, timeout: float = REGISTRY_SECONDS) -> list[Camera]:
        """See `AsyncClient.cameras`."""
        return list(self._ask(self._cameras.ListCameras, ListCamerasRequest(), timeout).cameras)

    def watch_cameras(self) -> Iterator[list[Camera]]:
        """See `AsyncClient.watch_cameras`."""
        with reporting_errors():
            for response in self._cameras.WatchCameras(WatchCamerasRequest()):
                yield list(response.cameras)
