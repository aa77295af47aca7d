"""`Analyze` behind the wire: which image, which models, and what their answers amount to together."""

import asyncio
import time
from dataclasses import dataclass

from framemesh.errors import (
    DeadlineError,
    FramemeshError,
    ImageTooLargeError,
    InvalidImageError,
    InvalidRequestError,
    ModelNotFoundError,
    ModelUnavailableError,
)
from framemesh.images import read_header
from framemesh.lake import Lake
from framemesh.limits import ImageLimits
from framemesh.v1.analysis_service_pb2 import AnalyzeRequest, AnalyzeResponse
from framemesh.v1.answer_pb2 import AnswerOptions, ModelAnswer
from framemesh.v1.inference_service_pb2 import Priority
from gateway import results
from gateway.asking import Asker
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry
from gateway.room import Room
from gateway.stored import stored_frame

_MARGIN_SECONDS = 0.05
"""Kept back of the caller's deadline, so that the answers that did come reach it."""


@dataclass(frozen=True, slots=True)
class Analyzer:
    """Asks models about single images."""

    registry: Registry
    asker: Asker
    lake: Lake
    metrics: GatewayMetrics
    room: Room
    limits: ImageLimits

    async def answer(self, request: AnalyzeRequest, *, timeout: float) -> AnalyzeResponse:
        """What the models say of the request's image.

        Args:
            request: The image, who is asked, and what is wanted of the answers.
            timeout: Seconds that it may take in all.

        Raises:
            InvalidRequestError: It has no image.
            OverloadedError: There is no room for its bytes now; the image was not looked at.
            InvalidImageError: It is no image, or every model found it broken.
            ImageTooLargeError: It is over the limits.
            FrameNotFoundError: Nothing is stored under the key.
            LakeUnavailableError: The lake can't be read now.
            DeadlineError: The time was up before the image was there.
            ModelNotFoundError: One of the models isn't deployed.
            ModelUnavailableError: None is deployed at all.
        """
        models = list(request.models)
        match request.WhichOneof("source"):
            case "image":
                image = request.image  # a copy each time it is asked for
                with self.room.bytes(len(image)):
                    read_header(image, self.limits)
                    answers = await self._ask(image, models, request.options, timeout=timeout)
                return AnalyzeResponse(answers=answers)
            case "object_key":
                began = time.monotonic()
                try:
                    async with asyncio.timeout(timeout):
                        frame, image = await stored_frame(self.lake, request.object_key)
                except TimeoutError:
                    raise DeadlineError(f"the lake did not give the frame within {timeout:.3g} s") from None
                left = timeout - (time.monotonic() - began)
                with self.room.bytes(len(image)):
                    answers = await self._ask(image, models, request.options, timeout=left)
                return AnalyzeResponse(answers=answers, frame=frame)
            case _:
                raise InvalidRequestError("the request has neither an image nor an object_key: set one", field="source")

    async def _ask(
        self, image: bytes, models: list[str], options: AnswerOptions, *, timeout: float
    ) -> list[ModelAnswer]:
        """Each model's answer to the image, or its error, in the order of the models; none: all but shadows."""
        asked = list(dict.fromkeys(models)) or self.registry.published()
        if not asked:
            raise ModelUnavailableError("no model is deployed yet: `framemesh deploy NAME` deploys one")
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
