"""The gRPC service: unpack the request, call, pack the answer."""

import math
import time

import grpc
from google.protobuf.duration_pb2 import Duration

from framemesh.v1.answer_pb2 import Answer, Classification, InferenceTiming, Label
from framemesh.v1.inference_service_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    InferRequest,
    InferResponse,
)
from framemesh.v1.inference_service_pb2_grpc import InferenceServiceServicer
from model_server.classification import label_count
from model_server.hosting import ModelHost
from model_server.inference import Answered, Job
from model_server.metrics import ModelServerMetrics

Context = grpc.aio.ServicerContext[InferRequest, InferResponse]
MetadataContext = grpc.aio.ServicerContext[GetModelMetadataRequest, GetModelMetadataResponse]


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
            job = Job(request.image, label_count(request.options.max_label_count))
            answered = await served.batcher.submit(job, deadline=deadline)
        return InferResponse(
            model_version=served.manifest.version,
            answer=Answer(
                classification=Classification(
                    labels=[
                        Label(index=label.index, name=label.name, score=label.score) for label in answered.answer.labels
                    ]
                )
            ),
            timing=_timing(answered),
        )

    async def GetModelMetadata(
        self, request: GetModelMetadataRequest, context: MetadataContext
    ) -> GetModelMetadataResponse:
        """Describe the model."""
        manifest = self._host.served("").manifest
        return GetModelMetadataResponse(
            model=self._name,
            model_version=manifest.version,
            source=self._source,
            task=manifest.task,
            runtime=manifest.runtime,
            labels=manifest.labels,
        )


def _timing(answered: Answered) -> InferenceTiming:
    answer = answered.answer
    return InferenceTiming(
        queue_duration=_duration(answered.queue_seconds),
        preprocess_duration=_duration(answer.preprocess_seconds),
        inference_duration=_duration(answer.inference_seconds),
        postprocess_duration=_duration(answer.postprocess_seconds),
        batch_size=answer.batch_size,
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
