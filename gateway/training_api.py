"""`framemesh.v1.TrainingService`: unpack the request, call, pack the answer."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import structlog

from framemesh.v1 import training_service_pb2 as pb2
from framemesh.v1 import training_service_pb2_grpc as pb2_grpc
from gateway.access import caller
from gateway.trainings import Trainings

log = structlog.get_logger()

Context = grpc.aio.ServicerContext[Any, Any]


class TrainingApi(pb2_grpc.TrainingServiceServicer):
    """`framemesh.v1.TrainingService`."""

    def __init__(self, trainings: Trainings) -> None:
        self._trainings = trainings

    async def StartTraining(self, request: pb2.StartTrainingRequest, context: Context) -> pb2.StartTrainingResponse:
        """See `training_service.proto`."""
        wanted = await self._trainings.start(request.spec, caller=caller())
        log.info("training.started", training=wanted.spec.name, dataset=wanted.spec.dataset, base=wanted.spec.base)
        return pb2.StartTrainingResponse(spec=wanted.spec, generation=wanted.generation)

    async def StopTraining(self, request: pb2.StopTrainingRequest, context: Context) -> pb2.StopTrainingResponse:
        """See `training_service.proto`."""
        wanted = await self._trainings.stop_training(request.name)
        log.info("training.stopped", training=wanted.spec.name)
        return pb2.StopTrainingResponse(spec=wanted.spec, generation=wanted.generation)

    async def DeleteTraining(self, request: pb2.DeleteTrainingRequest, context: Context) -> pb2.DeleteTrainingResponse:
        """See `training_service.proto`."""
        await self._trainings.delete(request.name)
        log.info("training.deleted", training=request.name)
        return pb2.DeleteTrainingResponse()

    async def ListTrainings(self, request: pb2.ListTrainingsRequest, context: Context) -> pb2.ListTrainingsResponse:
        """See `training_service.proto`."""
        return pb2.ListTrainingsResponse(trainings=self._trainings.trainings())

    async def WatchTrainings(
        self, request: pb2.WatchTrainingsRequest, context: Context
    ) -> AsyncIterator[pb2.WatchTrainingsResponse]:
        """See `training_service.proto`."""
        async for _ in self._trainings.changes():
            yield pb2.WatchTrainingsResponse(trainings=self._trainings.trainings())
