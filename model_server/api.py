"""The gRPC service: unpack the request, call, pack the answer."""

import math
import time

import grpc
from google.protobuf.duration_pb2 import Duration

from framemesh.v1.answer_pb2 import InferenceTiming
from framemesh.v1.inference_service_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    InferRequest,
    InferResponse,
    Priority,
)
from framemesh.v1.inference_service_pb2_grpc import InferenceServiceServicer
from model_server.batching import Rank
from model_server.hosting import ModelHost
from model_server.inference import Inferred, Job
from model_server.metrics import ModelServerMetrics
from model_server.options import check_options

Context = grpc.aio.ServicerContext[InferRequest, InferResponse]
MetadataContext = grpc.aio.ServicerContext[GetModelMetadataRequest, GetModelMetadataResponse]


_RANKS = {Priority.PRIORITY_BACKGROUND: Rank.BACKGROUND, Priority.PRIORITY_REPLAY: Rank.REPLAY}


class InferenceApi(InferenceServiceServicer):
    """`framemesh.v1.InferenceService` for the one model of this server."""

    def __init__(self, name: str, source: str, host: ModelHost, metrics: ModelServerMetrics) -> None:
        self._name = name
        self._source = source
        self._host = host
        self._metrics = metrics

    async def Infer(self, request: InferRequest, context: Context) -> InferResponse:
        """Run the model on one image."""
        remaining = context.time_remaining()
        deadline = math.inf if remaining is None else time.monotonic() + remaining
        with self._metrics.counting(self._name, deadline):
            served = self._host.served(request.model)
            job = Job(request.image, check_options(request.options))
            inferred = await served.batcher.submit(
                job, deadline=deadline, rank=_RANKS.get(request.priority, Rank.INTERACTIVE)
            )
        return InferResponse(
            model_version=served.model.manifest.version, answer=inferred.answer, timing=_timing(inferred)
        )

    async def GetModelMetadata(
        self, request: GetModelMetadataRequest, context: MetadataContext
    ) -> GetModelMetadataResponse:
        """Describe the model."""
        model = self._host.served("").model
        manifest = model.manifest
        return GetModelMetadataResponse(
            model=self._name,
            model_version=manifest.version,
            source=self._source,
            task=manifest.task.name,
            runtime=manifest.runtime,
            labels=model.labels,
            precision=manifest.precision,
            preprocessing=model.preprocessing,
            fallback_reason=manifest.fallback_reason,
        )


def _timing(inferred: Inferred) -> InferenceTiming:
    return InferenceTiming(
        queue_duration=_duration(inferred.queue_seconds),
        preprocess_duration=_duration(inferred.preprocess_seconds),
        inference_duration=_duration(inferred.inference_seconds),
        postprocess_duration=_duration(inferred.postprocess_seconds),
        batch_size=inferred.batch_size,
    )


def _duration(seconds: float) -> Duration:
    whole, rest = divmod(seconds, 1)  # protobuf's own conversions are Python and take ten times as long
    return Duration(seconds=int(whole), nanos=int(rest * 1e9))
