"""The service of the Open Inference Protocol: unpack the request, submit its images, pack the response."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version

import grpc
import structlog

from framemesh.errors import FramemeshError, ModelNotFoundError, ModelUnavailableError
from framemesh.oip.grpc_service_pb2 import (
    ModelConfigRequest,
    ModelConfigResponse,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    ModelStatisticsRequest,
    ModelStatisticsResponse,
    ModelStreamInferResponse,
    ServerLiveRequest,
    ServerLiveResponse,
    ServerMetadataRequest,
    ServerMetadataResponse,
    ServerReadyRequest,
    ServerReadyResponse,
)
from framemesh.oip.grpc_service_pb2_grpc import GRPCInferenceServiceServicer
from framemesh.telemetry import tracing
from model_server.batching import Batcher, Rank
from model_server.hosting import ModelHost, ServedModel
from model_server.inference import Inferred, Job
from model_server.metrics import ModelServerMetrics
from model_server.oip import describing
from model_server.oip.requests import ANSWER, InferCall, read
from model_server.oip.responses import fill
from model_server.totals import totals

log = structlog.get_logger()

EXTENSIONS = ("classification", "model_configuration", "schedule_policy", "statistics")
"""What is offered beyond the core protocol, in Triton's words."""

_ONE_OF_MANY = "inference.GRPCInferenceService/ModelStreamInfer image"
_STREAM_AHEAD = 16  # requests of one stream under way at once

Context = grpc.aio.ServicerContext[object, object]


class InferenceProtocolApi(GRPCInferenceServiceServicer):
    """`inference.GRPCInferenceService` for the one model of this server.

    Args:
        name: The model's name.
        host: Serves it.
        metrics: Told of every request.
        max_batch: The most of its images that may run together.
        max_images: The most in one request.
    """

    def __init__(
        self, name: str, host: ModelHost, metrics: ModelServerMetrics, *, max_batch: int, max_images: int
    ) -> None:
        self._name = name
        self._host = host
        self._metrics = metrics
        self._max_batch = max_batch
        self._max_images = max_images

    async def ServerLive(self, request: ServerLiveRequest, context: Context) -> ServerLiveResponse:
        """Say that the server runs."""
        return ServerLiveResponse(live=True)

    async def ServerReady(self, request: ServerReadyRequest, context: Context) -> ServerReadyResponse:
        """Say whether the model answers."""
        return ServerReadyResponse(ready=self._host.problem() is None)

    async def ModelReady(self, request: ModelReadyRequest, context: Context) -> ModelReadyResponse:
        """Say whether this model answers."""
        try:
            self._served(request.name, request.version)
        except ModelUnavailableError:
            return ModelReadyResponse(ready=False)
        return ModelReadyResponse(ready=True)

    async def ServerMetadata(self, request: ServerMetadataRequest, context: Context) -> ServerMetadataResponse:
        """Describe the server."""
        return ServerMetadataResponse(name="framemesh", version=version("framemesh"), extensions=EXTENSIONS)

    async def ModelMetadata(self, request: ModelMetadataRequest, context: Context) -> ModelMetadataResponse:
        """Describe the model's tensors."""
        model = self._served(request.name, request.version).model
        return describing.metadata(self._name, model.manifest.version, model.manifest.runtime, model.signature)

    async def ModelConfig(self, request: ModelConfigRequest, context: Context) -> ModelConfigResponse:
        """Describe the model as Triton would configure it."""
        model = self._served(request.name, request.version).model
        return ModelConfigResponse(
            config=describing.config(self._name, model.manifest.runtime, model.signature, max_batch=self._max_batch)
        )

    async def ModelStatistics(self, request: ModelStatisticsRequest, context: Context) -> ModelStatisticsResponse:
        """Say what the model has done."""
        served = self._served(request.name, request.version)
        ago = time.monotonic() - served.batcher.last_success
        return ModelStatisticsResponse(
            model_stats=[
                describing.statistics(
                    self._name,
                    served.model.manifest.version,
                    totals(self._metrics, self._name),
                    last_inference_ms=0 if math.isinf(ago) else round((time.time() - ago) * 1e3),
                )
            ]
        )

    async def ModelInfer(self, request: ModelInferRequest, context: Context) -> ModelInferResponse:
        """Run the model on the request's images; those of one request may run in several batches."""
        return await self._infer(request, _deadline(context))

    async def ModelStreamInfer(  # type: ignore[override]  # grpc.aio also takes handlers that write by themselves
        self, requests: AsyncIterator[ModelInferRequest], context: Context
    ) -> None:
        """Run the model on each request; some run at once, and responses come in the requests' order.

        A request that fails has its error in its own response, and the stream goes on.
        """
        deadline = _deadline(context)
        answers: asyncio.Queue[asyncio.Task[ModelStreamInferResponse] | None] = asyncio.Queue(_STREAM_AHEAD)
        with tracing.continued(context.invocation_metadata() or ()):
            async with asyncio.TaskGroup() as group:
                group.create_task(_write(answers, context))
                async for request in requests:
                    await answers.put(group.create_task(self._stream_infer(request, deadline)))
                await answers.put(None)

    async def _stream_infer(self, request: ModelInferRequest, deadline: float) -> ModelStreamInferResponse:
        try:
            with tracing.span(_ONE_OF_MANY, kind="SERVER"):
                response = await self._infer(request, deadline)
        except FramemeshError as error:
            problem = str(error)
        except Exception:
            log.exception("rpc.fault", method="ModelStreamInfer")
            problem = "the service failed on this request; its log says why"
        else:
            response.parameters["triton_final_response"].bool_param = True  # Triton's clients may wait for it
            return ModelStreamInferResponse(infer_response=response)
        return ModelStreamInferResponse(error_message=problem, infer_response=ModelInferResponse(id=request.id))

    async def _infer(self, request: ModelInferRequest, deadline: float) -> ModelInferResponse:
        with self._metrics.counting(self._name, deadline):
            served = self._served(request.model_name, request.model_version)
            model = served.model
            call = read(request, model.signature, max_images=self._max_images)
            inferred = await _inferred(served.batcher, call, deadline)
            response = ModelInferResponse(model_name=self._name, model_version=model.manifest.version, id=request.id)
            fill(response, call, inferred, model.labels)
        return response

    def _served(self, name: str, version: str) -> ServedModel:
        """The model.

        Raises:
            ModelNotFoundError: Another model is asked for, or another version of it.
            ModelUnavailableError: It doesn't answer now.
        """
        served = self._host.served(name)
        has = served.model.manifest.version
        if version not in {"", has}:
            raise ModelNotFoundError(
                f"no version {version!r} of model {self._name!r} here; serving: {has}", version=version, serving=has
            )
        return served


def _deadline(context: Context) -> float:
    """By `time.monotonic`; infinite where the caller set none."""
    remaining = context.time_remaining()
    return math.inf if remaining is None else time.monotonic() + remaining


async def _inferred(batcher: Batcher, call: InferCall, deadline: float) -> Sequence[Inferred]:
    """What the model says of each image. Where one fails, the others are given up."""
    deadline = min(deadline, time.monotonic() + call.timeout_seconds)
    raw = all(output.name != ANSWER for output in call.outputs)
    rank = Rank.BACKGROUND if call.background else Rank.INTERACTIVE
    tasks = [
        asyncio.create_task(batcher.submit(Job(image, raw=raw), deadline=deadline, rank=rank)) for image in call.images
    ]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _write(answers: asyncio.Queue[asyncio.Task[ModelStreamInferResponse] | None], context: Context) -> None:
    while (answer := await answers.get()) is not None:
        await context.write(await answer)
