"""The public gRPC services: unpack the request, call, pack the answer. They decide nothing."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from framemesh.bus import Bus
from framemesh.errors import InvalidRequestError
from framemesh.names import MAX_MODEL_LENGTH, check_label
from framemesh.v1 import analysis_service_pb2 as analysis_pb2
from framemesh.v1 import analysis_service_pb2_grpc as analysis_grpc
from framemesh.v1 import model_service_pb2 as model_pb2
from framemesh.v1 import model_service_pb2_grpc as model_grpc
from gateway.analysis import Analyzer
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry
from gateway.watching import watch_results

Context = grpc.aio.ServicerContext[Any, Any]

_DEFAULT_SECONDS = 10.0


class AnalysisApi(analysis_grpc.AnalysisServiceServicer):
    """`framemesh.v1.AnalysisService`."""

    def __init__(self, analyzer: Analyzer, bus: Bus, metrics: GatewayMetrics) -> None:
        self._analyzer = analyzer
        self._bus = bus
        self._metrics = metrics

    async def Analyze(self, request: analysis_pb2.AnalyzeRequest, context: Context) -> analysis_pb2.AnalyzeResponse:
        """See `analysis_service.proto`."""
        frame = None
        match request.WhichOneof("source"):
            case "image":
                image = request.image
            case "object_key":
                frame, image = await self._analyzer.stored(request.object_key)
            case _:
                raise InvalidRequestError("the request has neither an image nor an object_key: set one", field="source")
        remaining = context.time_remaining()
        answers = await self._analyzer.analyze(
            image,
            list(request.models),
            request.options,
            timeout=_DEFAULT_SECONDS if remaining is None else remaining,
        )
        return analysis_pb2.AnalyzeResponse(answers=answers, frame=frame)

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
        return model_pb2.DeployModelResponse(spec=await self._registry.deploy(request.spec))

    async def ScaleModel(
        self,
        request: model_pb2.ScaleModelRequest,
        context: Context,
    ) -> model_pb2.ScaleModelResponse:
        """See `model_service.proto`."""
        return model_pb2.ScaleModelResponse(spec=await self._registry.scale(request.name, request.replicas))

    async def DeleteModel(
        self,
        request: model_pb2.DeleteModelRequest,
        context: Context,
    ) -> model_pb2.DeleteModelResponse:
        """See `model_service.proto`."""
        await self._registry.delete(request.name)
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
