"""What people say that stored frames show."""

import grpc

from framemesh.client.parts import AsyncPart, Part
from framemesh.corrections import correct_request
from framemesh.v1.correction_pb2 import CorrectedObjects, Correction
from framemesh.v1.correction_service_pb2 import ListCorrectionsRequest, RemoveCorrectionRequest
from framemesh.v1.correction_service_pb2_grpc import CorrectionServiceStub

CORRECTION_SECONDS = 30.0


class AsyncCorrections(AsyncPart):
    """`CorrectionService`, for asyncio."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._corrections = CorrectionServiceStub(channel)

    async def correct(
        self,
        frame_id: str,
        truth: str | CorrectedObjects,
        *,
        model: str = "",
        timeout: float = CORRECTION_SECONDS,
    ) -> Correction:
        """Say what a stored frame shows, in place of what models, or people before, say of it.

        Args:
            frame_id: The frame's id.
            truth: For image classification, the class; for object detection, every object, maybe none.
            model: The model whose answer this corrects, where it is about one.
            timeout: Seconds that it may take.
        """
        request = correct_request(frame_id, truth, model)
        return (await self._ask(self._corrections.CorrectFrame, request, timeout)).correction

    async def corrections(
        self, *, camera: str = "", frame_id: str = "", limit: int = 0, timeout: float = CORRECTION_SECONDS
    ) -> list[Correction]:
        """The corrections that count, of one camera or frame or of all, the newest first; a `limit` of 0 means 100."""
        request = ListCorrectionsRequest(camera=camera, frame_id=frame_id, limit=limit)
        return list((await self._ask(self._corrections.ListCorrections, request, timeout)).corrections)

    async def remove_correction(
        self, frame_id: str, *, task: str = "", timeout: float = CORRECTION_SECONDS
    ) -> list[Correction]:
        """Take back what was said of a frame, for one task or for all; returns what was in force."""
        request = RemoveCorrectionRequest(frame_id=frame_id, task=task)
        return list((await self._ask(self._corrections.RemoveCorrection, request, timeout)).corrections)


class Corrections(Part):
    """`CorrectionService`, for threads."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._corrections = CorrectionServiceStub(channel)

    def correct(
        self, frame_id: str, truth: str | CorrectedObjects, *, model: str = "", timeout: float = CORRECTION_SECONDS
    ) -> Correction:
        """See `AsyncClient.correct`."""
        request = correct_request(frame_id, truth, model)
        return self._ask(self._corrections.CorrectFrame, request, timeout).correction

    def corrections(
        self, *, camera: str = "", frame_id: str = "", limit: int = 0, timeout: float = CORRECTION_SECONDS
    ) -> list[Correction]:
        """See `AsyncClient.corrections`."""
        request = ListCorrectionsRequest(camera=camera, frame_id=frame_id, limit=limit)
        return list(self._ask(self._corrections.ListCorrections, request, timeout).corrections)

    def remove_correction(
        self, frame_id: str, *, task: str = "", timeout: float = CORRECTION_SECONDS
    ) -> list[Correction]:
        """See `AsyncClient.remove_correction`."""
        request = RemoveCorrectionRequest(frame_id=frame_id, task=task)
        return list(self._ask(self._corrections.RemoveCorrection, request, timeout).corrections)
