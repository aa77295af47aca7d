"""`Analyze` behind the wire: which image, which models, and what their answers amount to together."""

import asyncio
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from framemesh.errors import (
    FramemeshError,
    FrameNotFoundError,
    ImageTooLargeError,
    InvalidImageError,
    ModelNotFoundError,
    ModelUnavailableError,
)
from framemesh.frames import frame_id_of, timestamp
from framemesh.images import read_header
from framemesh.lake import Lake
from framemesh.v1.answer_pb2 import AnswerOptions, ModelAnswer
from framemesh.v1.frame_pb2 import Frame
from framemesh.v1.inference_service_pb2 import Priority
from gateway import results
from gateway.asking import Asker
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry

_MARGIN_SECONDS = 0.05
"""Kept back of the caller's deadline, so that the answers that did come reach it."""


@dataclass(frozen=True, slots=True)
class Analyzer:
    """Asks models about single images."""

    registry: Registry
    asker: Asker
    lake: Lake
    metrics: GatewayMetrics

    async def stored(self, key: str) -> tuple[Frame, bytes]:
        """A stored frame with its image.

        Raises:
            FrameNotFoundError: Nothing is stored under the key.
            LakeUnavailableError: The lake can't be read now.
        """
        frame_id = frame_id_of(key)
        if frame_id is None:
            raise FrameNotFoundError(f"{key!r} is no key of a stored frame; results carry the keys of theirs", key=key)
        body, metadata = await self.lake.get(key)
        header = read_header(body)
        frame = Frame(
            frame_id=str(frame_id),
            camera=frame_id.camera,
            capture_time=timestamp(frame_id.captured_ns),
            size_bytes=len(body),
            width_px=header.width_px,
            height_px=header.height_px,
            content_type=header.content_type,
            object_key=key,
        )
        if "captured-at" in metadata:
            captured = Timestamp()
            captured.FromJsonString(metadata["captured-at"])
            frame.capture_time.CopyFrom(captured)
        if "camera-sequence" in metadata:
            frame.camera_sequence = int(metadata["camera-sequence"])
        return frame, body

    async def analyze(
        self, image: bytes, models: list[str], options: AnswerOptions, *, timeout: float
    ) -> list[ModelAnswer]:
        """Each model's answer to the image, or its error, in the order of the models.

        Args:
            image: A whole encoded image.
            models: Who is asked; none means all.
            options: What is wanted of the answers.
            timeout: Seconds that it may take in all.

        Raises:
            InvalidImageError: It is no image, or every model found it broken.
            ImageTooLargeError: It is over the limits.
            ModelNotFoundError: One of the models isn't deployed.
            ModelUnavailableError: None is deployed at all.
        """
        read_header(image)
        asked = list(dict.fromkeys(models)) or list(self.registry.specs())
        if not asked:
            raise ModelUnavailableError("no model is deployed yet: `framemesh up --model NAME` deploys one")
        for model in asked:
            self.registry.spec(model)
        limit = max(timeout - _MARGIN_SECONDS, 0.9 * timeout)
        outcomes = await asyncio.gather(*(self._one(model, image, options, limit) for model in asked))
        errors = [outcome for outcome in outcomes if isinstance(outcome, FramemeshError)]
        if len(errors) == len(outcomes) and all(isinstance(error, _CALLERS_FAULT) for error in errors):
            raise errors[0]
        return [
            results.failed(model, outcome) if isinstance(outcome, FramemeshError) else outcome
            for model, outcome in zip(asked, outcomes, strict=True)
        ]

    async def _one(
        self, model: str, image: bytes, options: AnswerOptions, timeout: float
    ) -> ModelAnswer | FramemeshError:
        try:
            response = await self.asker.ask(
                model, image, options, priority=Priority.PRIORITY_INTERACTIVE, timeout=timeout
            )
            answer = results.succeeded(model, response)
        except FramemeshError as error:
            self.metrics.calls.labels(model, "failed").inc()
            return error
        self.metrics.calls.labels(model, "succeeded").inc()
        return answer


_CALLERS_FAULT = (InvalidImageError, ImageTooLargeError, ModelNotFoundError)
