"""The public gRPC services: unpack the request, call, pack the answer. They decide nothing."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import structlog

from framemesh.bus import Bus
from framemesh.errors import FramemeshError, InternalError, InvalidRequestError
from framemesh.names import MAX_MODEL_LENGTH, check_label
from framemesh.rpc.status import to_answer_error
from framemesh.telemetry import tracing
from framemesh.v1 import analysis_service_pb2 as analysis_pb2
from framemesh.v1 import analysis_service_pb2_grpc as analysis_grpc
from framemesh.v1 import model_service_pb2 as model_pb2
from framemesh.v1 import model_service_pb2_grpc as model_grpc
from gateway.access import caller
from gateway.analysis import Analyzer
from gateway.exchanging import exchange
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry
from gateway.room import Room
from gateway.watching import watch_results

log = structlog.get_logger()

Context = grpc.aio.ServicerContext[Any, Any]

_DEFAULT_SECONDS = 10.0
_ONE_OF_MANY = "framemesh.v1.AnalysisService/AnalyzeStream image"
_MAX_REASON = 1024

STREAM_IMAGES = 16
"""Of one stream in work at once."""


class AnalysisApi(analysis_grpc.AnalysisServiceServicer):
    """`framemesh.v1.AnalysisService`."""

    def __init__(self, analyzer: Analyzer, room: Room, bus: Bus, metrics: GatewayMetrics) -> None:
        self._analyzer = analyzer
        self._room = room
        self._bus = bus
        self._metrics = metrics

    async def Analyze(self, request: analysis_pb2.AnalyzeRequest, context: Context) -> analysis_pb2.AnalyzeResponse:
        """See `analysis_service.proto`."""
        remaining = context.time_remaining()
        return await self._analyzer.answer(request, timeout=_DEFAULT_SECONDS if remaining is None else remaining)

    async def AnalyzeStream(  # type: ignore[override]  # grpc.aio also takes handlers that write by themselves
        self, requests: AsyncIterator[analysis_pb2.AnalyzeStreamRequest], context: Context
    ) -> None:
        """See `analysis_service.proto`."""
        with tracing.continued(context.invocation_metadata() or ()):
            await exchange(requests, self._answer_one_of_many, context.write, at_once=STREAM_IMAGES)

    async def _answer_one_of_many(
        self, request: analysis_pb2.AnalyzeStreamRequest
    ) -> analysis_pb2.AnalyzeStreamResponse:
        error: FramemeshError
        try:
            with self._room.image(), tracing.span(_ONE_OF_MANY, kind="SERVER"):
                response = await self._analyzer.answer(request.request, timeout=_timeout(request))
            return analysis_pb2.AnalyzeStreamResponse(request_id=request.request_id, response=response)
        except FramemeshError as refusal:
            error = refusal
        except Exception:
            log.exception("rpc.fault", method="AnalyzeStream")
            error = InternalError("the service failed on this image; its log says why")
        return analysis_pb2.AnalyzeStreamResponse(request_id=request.request_id, error=to_answer_error(error))

    async def WatchResults(
        self,
        request: analysis_pb2.WatchResultsRequest,
        context: Context,
    ) -> AsyncIterator[analysis_pb2.WatchResultsResponse]:
        """See `analysis_service.proto`."""
        models = {check_label("model", name, max_length=MAX_MODEL_LENGTH) for name in request.models}
        cameras = {check_label("camera", name) for name in request.cameras}
        async for result, missed in watch_results(self._bus, self._metrics, models=models, cameras=cameras):
            yield analysis_pb2.WatchResultsResponse(result=result, missed_result_count=missed)


def _timeout(request: analysis_pb2.AnalyzeStreamRequest) -> float:
    if not request.HasField("timeout"):
        return _DEFAULT_SECONDS
    seconds = request.timeout.seconds + request.timeout.nanos / 1e9
    if seconds <= 0:
        raise InvalidRequestError("the request's timeout must be more than 0 s: leave it out for 10 s", field="timeout")
    return seconds


class ModelApi(model_grpc.ModelServiceServicer):
    """`framemesh.v1.ModelService`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def DeployModel(
        self,
        request: model_pb2.DeployModelRequest,
        context: Context,
    ) -> model_pb2.DeployModelResponse:
        """See `model_service.proto`."""
        expected = request.expected_generation if request.HasField("expected_generation") else None
        wanted = await self._registry.deploy(request.spec, expected_generation=expected, caller=caller())
        log.info("model.deployed", model=wanted.spec.name, source=wanted.spec.source)
        return model_pb2.DeployModelResponse(spec=wanted.spec, generation=wanted.generation)

    async def ScaleModel(
        self,
        request: model_pb2.ScaleModelRequest,
        context: Context,
    ) -> model_pb2.ScaleModelResponse:
        """See `model_service.proto`."""
        wanted = await self._registry.scale(request.name, request.replicas)
        log.info("model.scaled", model=wanted.spec.name, replicas=wanted.spec.replicas)
        return model_pb2.ScaleModelResponse(spec=wanted.spec, generation=wanted.generation)

    async def PromoteModel(
        self,
        request: model_pb2.PromoteModelRequest,
        context: Context,
    ) -> model_pb2.PromoteModelResponse:
        """See `model_service.proto`."""
        if len(request.reason) > _MAX_REASON:
            raise InvalidRequestError(f"a reason has at most {_MAX_REASON:,} characters", field="reason")
        wanted = await self._registry.promote(request.shadow, request.model, caller=caller(), reason=request.reason)
        log.info("model.promoted", model=wanted.spec.name, source=wanted.spec.source, shadow=request.shadow)
        return model_pb2.PromoteModelResponse(spec=wanted.spec, generation=wanted.generation)

    async def RollBackModel(
        self,
        request: model_pb2.RollBackModelRequest,
        context: Context,
    ) -> model_pb2.RollBackModelResponse:
        """See `model_service.proto`."""
        wanted = await self._registry.roll_back(request.name, caller=caller())
        log.info("model.rolled_back", model=wanted.spec.name, source=wanted.spec.source)
        return model_pb2.RollBackModelResponse(spec=wanted.spec, generation=wanted.generation)

    async def DeleteModel(
        self,
        request: model_pb2.DeleteModelRequest,
        context: Context,
    ) -> model_pb2.DeleteModelResponse:
        """See `model_service.proto`."""
        await self._registry.delete(request.name)
        log.info("model.deleted", model=request.name)
        return model_pb2.DeleteModelResponse()

    async def ListModels(
        self,
        request: model_pb2.ListModelsRequest,
        context: Context,
    ) -> model_pb2.ListModelsResponse:
        """See `model_service.proto`."""
        return model_pb2.ListModelsResponse(models=self._registry.models())

    async def WatchModels(
        self,
        request: model_pb2.WatchModelsRequest,
        context: Context,
    ) -> AsyncIterator[model_pb2.WatchModelsResponse]:
        """See `model_service.proto`."""
        async for _ in self._registry.changes():
            yield model_pb2.WatchModelsResponse(models=self._registry.models())
