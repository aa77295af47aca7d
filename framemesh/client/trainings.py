"""Trainings that the mesh runs."""

from collections.abc import AsyncIterator, Iterator

import grpc

from framemesh.awaiting import Awaited
from framemesh.client.parts import REGISTRY_SECONDS, AsyncPart, Part, reporting_errors
from framemesh.errors import TrainingNotFoundError
from framemesh.trainings import ended
from framemesh.v1.training_pb2 import Training, TrainingSpec
from framemesh.v1.training_service_pb2 import (
    DeleteTrainingRequest,
    ListTrainingsRequest,
    StartTrainingRequest,
    StartTrainingResponse,
    StopTrainingRequest,
    StopTrainingResponse,
    WatchTrainingsRequest,
)
from framemesh.v1.training_service_pb2_grpc import TrainingServiceStub


class AsyncTrainings(AsyncPart):
    """`TrainingService`, for asyncio."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._trainings = TrainingServiceStub(channel)

    async def start_training(self, spec: TrainingSpec, *, timeout: float = REGISTRY_SECONDS) -> StartTrainingResponse:
        """Ask for a training; the same again goes on from its last checkpoint. For `training_progress`."""
        return await self._ask(self._trainings.StartTraining, StartTrainingRequest(spec=spec), timeout)

    async def stop_training(self, name: str, *, timeout: float = REGISTRY_SECONDS) -> StopTrainingResponse:
        """Ask for a training to write a checkpoint and end."""
        return await self._ask(self._trainings.StopTraining, StopTrainingRequest(name=name), timeout)

    async def delete_training(self, name: str, *, timeout: float = REGISTRY_SECONDS) -> None:
        """Ask for a training no more; what it has in the lake stays."""
        await self._ask(self._trainings.DeleteTraining, DeleteTrainingRequest(name=name), timeout)

    async def trainings(self, *, timeout: float = REGISTRY_SECONDS) -> list[Training]:
        """The trainings that the mesh knows of, by name."""
        return list((await self._ask(self._trainings.ListTrainings, ListTrainingsRequest(), timeout)).trainings)

    async def watch_trainings(self) -> AsyncIterator[list[Training]]:
        """Yield the trainings, at once and after each change."""
        with reporting_errors():
            async for response in self._trainings.WatchTrainings(WatchTrainingsRequest()):
                yield list(response.trainings)

    async def training_progress(self, name: str, generation: int) -> AsyncIterator[Training]:
        """Yield a training as it is, at once and after each change, until a wish for it has come to its end.

        The last one's `status.phase` is SUCCEEDED, STOPPED or FAILED. Where nobody trains, this goes on for ever.

        Args:
            name: Its name.
            generation: Of the wish, or of one before it.

        Raises:
            TrainingNotFoundError: Somebody deleted it meanwhile.
        """
        awaited = Awaited[Training](name, generation, "training", TrainingNotFoundError)
        async for known in self.watch_trainings():
            if (found := awaited.among(known)) is not None:
                yield found
                if ended(found, generation):
                    return


class Trainings(Part):
    """`TrainingService`, for threads."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._trainings = TrainingServiceStub(channel)

    def start_training(self, spec: TrainingSpec, *, timeout: float = REGISTRY_SECONDS) -> StartTrainingResponse:
        """See `AsyncClient.start_training`."""
        return self._ask(self._trainings.StartTraining, StartTrainingRequest(spec=spec), timeout)

    def stop_training(self, name: str, *, timeout: float = REGISTRY_SECONDS) -> StopTrainingResponse:
        """See `AsyncClient.stop_training`."""
        return self._ask(self._trainings.StopTraining, StopTrainingRequest(name=name), timeout)

    def delete_training(self, name: str, *, timeout: float = REGISTRY_SECONDS) -> None:
        """See `AsyncClient.delete_training`."""
        self._ask(self._trainings.DeleteTraining, DeleteTrainingRequest(name=name), timeout)

    def trainings(self, *, timeout: float = REGISTRY_SECONDS) -> list[Training]:
        """See `AsyncClient.trainings`."""
        return list(self._ask(self._trainings.ListTrainings, ListTrainingsRequest(), timeout).trainings)

    def watch_trainings(self) -> Iterator[list[Training]]:
        """See `AsyncClient.watch_trainings`."""
        with reporting_errors():
            for response in self._trainings.WatchTrainings(WatchTrainingsRequest()):
                yield list(response.trainings)

    def training_progress(self, name: str, generation: int) -> Iterator[Training]:
        """See `AsyncClient.training_progress`."""
        awaited = Awaited[Training](name, generation, "training", TrainingNotFoundError)
        for known in self.watch_trainings():
            if (found := awaited.among(known)) is not None:
                yield found
                if ended(found, generation):
                    return
