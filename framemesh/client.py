"""Clients of the gateway, for threads and for asyncio. Answers are the protos' own messages."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import grpc

from framemesh.awaiting import Awaited
from framemesh.corrections import correct_request
from framemesh.deploying import settled
from framemesh.errors import ModelNotFoundError, TrainingNotFoundError
from framemesh.replaying import Done, paced, replay_requests
from framemesh.rpc.channels import Tls, open_channel, open_sync_channel
from framemesh.rpc.status import from_rpc_error
from framemesh.sending import Image, Named, Sending, analyze_request
from framemesh.trainings import ended
from framemesh.v1.analysis_service_pb2 import (
    AnalyzeResponse,
    AnalyzeStreamResponse,
    WatchResultsRequest,
)
from framemesh.v1.analysis_service_pb2_grpc import AnalysisServiceStub
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.camera_pb2 import Camera
from framemesh.v1.camera_service_pb2 import ListCamerasRequest, WatchCamerasRequest
from framemesh.v1.camera_service_pb2_grpc import CameraServiceStub
from framemesh.v1.correction_pb2 import CorrectedObjects, Correction
from framemesh.v1.correction_service_pb2 import ListCorrectionsRequest, RemoveCorrectionRequest
from framemesh.v1.correction_service_pb2_grpc import CorrectionServiceStub
from framemesh.v1.dead_letter_service_pb2 import (
    DeadLetterFilter,
    GetDeadLetterRequest,
    KeptDeadLetter,
    ListDeadLettersRequest,
    RetryDeadLettersRequest,
    RetryDeadLettersResponse,
)
from framemesh.v1.dead_letter_service_pb2_grpc import DeadLetterServiceStub
from framemesh.v1.model_pb2 import Model, ModelSpec
from framemesh.v1.model_service_pb2 import (
    DeleteModelRequest,
    DeployModelRequest,
    DeployModelResponse,
    ListModelsRequest,
    PromoteModelRequest,
    PromoteModelResponse,
    RollBackModelRequest,
    RollBackModelResponse,
    ScaleModelRequest,
    ScaleModelResponse,
    WatchModelsRequest,
)
from framemesh.v1.model_service_pb2_grpc import ModelServiceStub
from framemesh.v1.replay_service_pb2 import ArchivedTable, GetArchiveProgressRequest, ReplayResponse
from framemesh.v1.replay_service_pb2_grpc import ReplayServiceStub
from framemesh.v1.result_pb2 import Result
from framemesh.v1.status_service_pb2 import GetStatusRequest, GetStatusResponse
from framemesh.v1.status_service_pb2_grpc import StatusServiceStub
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

ANALYZE_SECONDS = 10.0
REGISTRY_SECONDS = 5.0
CORRECTION_SECONDS = 30.0
DEAD_LETTER_SECONDS = 30.0
STATUS_SECONDS = 15.0
REPLAY_SHARE = 0.5


def _retry_request(which: int | DeadLetterFilter) -> RetryDeadLettersRequest:
    if isinstance(which, int):
        return RetryDeadLettersRequest(number=which)
    return RetryDeadLettersRequest(filter=which)


@contextmanager
def _reporting_errors() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


class AsyncClient:
    """A mesh's gateway, for asyncio.

    Every method raises the matching `framemesh.errors.FramemeshError` where the gateway reports one, or where it
    can't be reached (`ModelUnavailableError`).

    Args:
        address: The gateway's gRPC address, as `host:port`.
        token: Where the gateway wants one.
        tls: Whether the gateway speaks TLS: `True`, or the path of a PEM file of the authorities to trust. A token
            does not go to another machine in plain text, unless `False` says that something else encrypts the way.

    Raises:
        ConfigurationError: The file can't be read, or the token would go in plain text.
    """

    def __init__(self, address: str, *, token: str | None = None, tls: Tls = None) -> None:
        self._channel = open_channel(address, tls=tls, token=token)
        self._analysis = AnalysisServiceStub(self._channel)
        self._models = ModelServiceStub(self._channel)
        self._dead_letters = DeadLetterServiceStub(self._channel)
        self._status = StatusServiceStub(self._channel)
        self._replay = ReplayServiceStub(self._channel)
        self._cameras = CameraServiceStub(self._channel)
        self._corrections = CorrectionServiceStub(self._channel)
        self._trainings = TrainingServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def analyze(
        self,
        image: Image | None = None,
        *,
        object_key: str | None = None,
        models: Iterable[str] = (),
        options: AnswerOptions | None = None,
        timeout: float = ANALYZE_SECONDS,
    ) -> AnalyzeResponse:
        """Ask models about an image, or about a stored frame.

        Args:
            image: A JPEG, PNG or WebP file's bytes, or its path.
            object_key: Key of a stored frame, instead of an image.
            models: Who is asked; none means all.
            options: What is wanted of the answers: how many classes, which labels, the least score, persons' boxes.
            timeout: Seconds that it may take in all.
        """
        request = analyze_request(image, object_key, models, options)
        with _reporting_errors():
            return await self._analysis.Analyze(request, timeout=timeout)

    async def analyze_stream(
        self,
        images: AsyncIterable[Named] | Iterable[Named],
        *,
        models: Iterable[str] = (),
        options: AnswerOptions | None = None,
        timeout: float = ANALYZE_SECONDS,
    ) -> AsyncIterator[AnalyzeStreamResponse]:
        """Ask models about many images, some of them at once, and yield what becomes of each as soon as it is known.

        An image that can't be read or analysed has its error in its own response, and the others go on. Images are
        taken from the iterator only as fast as they are answered.

        Args:
            images: Each with an id of the caller's, which its response carries: a JPEG, PNG or WebP file's bytes, its
                path, or a stored frame as results carry it (only its `object_key` counts).
            models: As in `analyze`.
            options: As in `analyze`.
            timeout: Seconds that each image may take.
        """
        sending = Sending(models, options, timeout)
        call = self._analysis.AnalyzeStream(sending.requests_async(images))
        try:
            with _reporting_errors():
                async for response in call:
                    for unsent in sending.unsent():
                        yield unsent
                    yield response
            for unsent in sending.finish():
                yield unsent
        finally:
            call.cancel()

    async def watch_results(self, *, models: Iterable[str] = (), cameras: Iterable[str] = ()) -> AsyncIterator[Result]:
        """Yield results as they come, until the caller stops; none of `models` or `cameras` means all of them."""
        with _reporting_errors():
            async for response in self._analysis.WatchResults(WatchResultsRequest(models=models, cameras=cameras)):
                yield response.result

    async def models(self, *, timeout: float = REGISTRY_SECONDS) -> list[Model]:
        """What is deployed, by name, with the live servers of each."""
        with _reporting_errors():
            return list((await self._models.ListModels(ListModelsRequest(), timeout=timeout)).models)

    async def status(self, *, timeout: float = STATUS_SECONDS) -> GetStatusResponse:
        """What waits where in the mesh, and what is wrong with it."""
        with _reporting_errors():
            return await self._status.GetStatus(GetStatusRequest(), timeout=timeout)

    async def cameras(self, *, timeout: float = REGISTRY_SECONDS) -> list[Camera]:
        """How the cameras are whose agents are heard, by name."""
        with _reporting_errors():
            return list((await self._cameras.ListCameras(ListCamerasRequest(), timeout=timeout)).cameras)

    async def watch_cameras(self) -> AsyncIterator[list[Camera]]:
        """Yield how the cameras are, at once and as their agents say more, until the caller stops."""
        with _reporting_errors():
            async for response in self._cameras.WatchCameras(WatchCamerasRequest()):
                yield list(response.cameras)

    async def watch_models(self) -> AsyncIterator[list[Model]]:
        """Yield what is deployed, at once and after each change."""
        with _reporting_errors():
            async for response in self._models.WatchModels(WatchModelsRequest()):
                yield list(response.models)

    async def deploy(self, spec: ModelSpec, *, timeout: float = REGISTRY_SECONDS) -> ModelSpec:
        """Ask for a model, or for another form of it; returns the spec with its defaults."""
        return (await self.deploy_model(spec, timeout=timeout)).spec

    async def deploy_model(self, spec: ModelSpec, *, timeout: float = REGISTRY_SECONDS) -> DeployModelResponse:
        """As `deploy`, with the wish's generation, for `progress`."""
        with _reporting_errors():
            return await self._models.DeployModel(DeployModelRequest(spec=spec), timeout=timeout)

    async def scale(self, model: str, replicas: int, *, timeout: float = REGISTRY_SECONDS) -> ModelSpec:
        """Ask for another number of a model's servers."""
        return (await self.scale_model(model, replicas, timeout=timeout)).spec

    async def scale_model(self, model: str, replicas: int, *, timeout: float = REGISTRY_SECONDS) -> ScaleModelResponse:
        """As `scale`, with the wish's generation, for `progress`."""
        request = ScaleModelRequest(name=model, replicas=replicas)
        with _reporting_errors():
            return await self._models.ScaleModel(request, timeout=timeout)

    async def promote(
        self, shadow: str, model: str, *, reason: str = "", timeout: float = REGISTRY_SECONDS
    ) -> PromoteModelResponse:
        """Ask for a model to be served by a shadow's version; `reason` is for its history."""
        request = PromoteModelRequest(shadow=shadow, model=model, reason=reason)
        with _reporting_errors():
            return await self._models.PromoteModel(request, timeout=timeout)

    async def roll_back(self, model: str, *, timeout: float = REGISTRY_SECONDS) -> RollBackModelResponse:
        """Ask for a model to be served by the version that served before."""
        with _reporting_errors():
            return await self._models.RollBackModel(RollBackModelRequest(name=model), timeout=timeout)

    async def progress(self, model: str, generation: int) -> AsyncIterator[Model]:
        """Yield the model as it is, at once and after each change, until a wish for it is fulfilled or has failed.

        The last one's `status.phase` is READY, ROLLED_BACK or FAILED, and its `status.message` says why. Where nobody
        deploys models, this goes on for ever.

        Args:
            model: Its name.
            generation: Of the wish, or of one before it.

        Raises:
            ModelNotFoundError: Somebody deleted it meanwhile.
        """
        awaited = Awaited[Model](model, generation, "model", ModelNotFoundError)
        async for models in self.watch_models():
            if (found := awaited.among(models)) is not None:
                yield found
                if settled(found, generation):
                    return

    async def delete(self, model: str, *, timeout: float = REGISTRY_SECONDS) -> None:
        """Ask for a model no more."""
        with _reporting_errors():
            await self._models.DeleteModel(DeleteModelRequest(name=model), timeout=timeout)

    async def dead_letters(
        self, wanted: DeadLetterFilter | None = None, *, limit: int = 0, timeout: float = DEAD_LETTER_SECONDS
    ) -> list[KeptDeadLetter]:
        """What could not be processed, without the bodies, the newest first; a `limit` of 0 means 100."""
        request = ListDeadLettersRequest(filter=wanted, limit=limit)
        with _reporting_errors():
            return list((await self._dead_letters.ListDeadLetters(request, timeout=timeout)).dead_letters)

    async def dead_letter(self, number: int, *, timeout: float = DEAD_LETTER_SECONDS) -> KeptDeadLetter:
        """One dead letter with its body."""
        with _reporting_errors():
            request = GetDeadLetterRequest(number=number)
            return (await self._dead_letters.GetDeadLetter(request, timeout=timeout)).dead_letter

    async def retry_dead_letters(self, which: int | DeadLetterFilter) -> AsyncIterator[RetryDeadLettersResponse]:
        """Try again what one dead letter is about, by its number, or many; yields how each try ended."""
        with _reporting_errors():
            async for response in self._dead_letters.RetryDeadLetters(_retry_request(which)):
                yield response

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
        with _reporting_errors():
            request = correct_request(frame_id, truth, model)
            return (await self._corrections.CorrectFrame(request, timeout=timeout)).correction

    async def corrections(
        self, *, camera: str = "", frame_id: str = "", limit: int = 0, timeout: float = CORRECTION_SECONDS
    ) -> list[Correction]:
        """The corrections that count, of one camera or frame or of all, the newest first; a `limit` of 0 means 100."""
        request = ListCorrectionsRequest(camera=camera, frame_id=frame_id, limit=limit)
        with _reporting_errors():
            return list((await self._corrections.ListCorrections(request, timeout=timeout)).corrections)

    async def remove_correction(
        self, frame_id: str, *, task: str = "", timeout: float = CORRECTION_SECONDS
    ) -> list[Correction]:
        """Take back what was said of a frame, for one task or for all; returns what was in force."""
        request = RemoveCorrectionRequest(frame_id=frame_id, task=task)
        with _reporting_errors():
            return list((await self._corrections.RemoveCorrection(request, timeout=timeout)).corrections)

    async def replay(
        self, model: str, object_keys: Iterable[str], *, share: float = REPLAY_SHARE, again: bool = False
    ) -> AsyncGenerator[ReplayResponse, None]:
        """Run a model over stored frames; yields how far it has come, a few times a second and at the end.

        Args:
            model: Name of a deployed model.
            object_keys: Keys of the frames, taken at the pace of the answers: they may be millions.
            share: The most of the model's capacity that it takes while live frames come, from 0.01 to 1.
            again: Whether frames that were answered minutes ago are answered anew.
        """
        with _reporting_errors():
            done = Done()
            requests = replay_requests(model, object_keys, share=share, again=again)
            call = self._replay.Replay(paced(requests, done))
            try:
                async for response in call:
                    done.note(response)
                    yield response
            finally:
                call.cancel()

    async def archive_progress(self, *, timeout: float = REGISTRY_SECONDS) -> list[ArchivedTable]:
        """How far the lake's tables are behind their streams; what is missing is written at once."""
        with _reporting_errors():
            return list((await self._replay.GetArchiveProgress(GetArchiveProgressRequest(), timeout=timeout)).tables)

    async def start_training(self, spec: TrainingSpec, *, timeout: float = REGISTRY_SECONDS) -> StartTrainingResponse:
        """Ask for a training; the same again goes on from its last checkpoint. For `training_progress`."""
        with _reporting_errors():
            return await self._trainings.StartTraining(StartTrainingRequest(spec=spec), timeout=timeout)

    async def stop_training(self, name: str, *, timeout: float = REGISTRY_SECONDS) -> StopTrainingResponse:
        """Ask for a training to write a checkpoint and end."""
        with _reporting_errors():
            return await self._trainings.StopTraining(StopTrainingRequest(name=name), timeout=timeout)

    async def delete_training(self, name: str, *, timeout: float = REGISTRY_SECONDS) -> None:
        """Ask for a training no more; what it has in the lake stays."""
        with _reporting_errors():
            await self._trainings.DeleteTraining(DeleteTrainingRequest(name=name), timeout=timeout)

    async def trainings(self, *, timeout: float = REGISTRY_SECONDS) -> list[Training]:
        """The trainings that the mesh knows of, by name."""
        with _reporting_errors():
            return list((await self._trainings.ListTrainings(ListTrainingsRequest(), timeout=timeout)).trainings)

    async def watch_trainings(self) -> AsyncIterator[list[Training]]:
        """Yield the trainings, at once and after each change."""
        with _reporting_errors():
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


class Client:
    """A mesh's gateway, for programs without asyncio. Safe to share between threads.

    Every method raises as `AsyncClient`'s does.

    Args:
        address: As `AsyncClient`'s.
        token: As `AsyncClient`'s.
        tls: As `AsyncClient`'s.

    Raises:
        ConfigurationError: As `AsyncClient`.
    """

    def __init__(self, address: str, *, token: str | None = None, tls: Tls = None) -> None:
        self._channel = open_sync_channel(address, tls=tls, token=token)
        self._analysis = AnalysisServiceStub(self._channel)
        self._models = ModelServiceStub(self._channel)
        self._dead_letters = DeadLetterServiceStub(self._channel)
        self._status = StatusServiceStub(self._channel)
        self._replay = ReplayServiceStub(self._channel)
        self._cameras = CameraServiceStub(self._channel)
        self._corrections = CorrectionServiceStub(self._channel)
        self._trainings = TrainingServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def analyze(
        self,
        image: Image | None = None,
        *,
        object_key: str | None = None,
        models: Iterable[str] = (),
        options: AnswerOptions | None = None,
        timeout: float = ANALYZE_SECONDS,
    ) -> AnalyzeResponse:
        """See `AsyncClient.analyze`."""
        request = analyze_request(image, object_key, models, options)
        with _reporting_errors():
            return self._analysis.Analyze(request, timeout=timeout)

    def analyze_stream(
        self,
        images: Iterable[Named],
        *,
        models: Iterable[str] = (),
        options: AnswerOptions | None = None,
        timeout: float = ANALYZE_SECONDS,
    ) -> Iterator[AnalyzeStreamResponse]:
        """See `AsyncClient.analyze_stream`; `images` is asked for more in a thread of its own."""
        sending = Sending(models, options, timeout)
        call = self._analysis.AnalyzeStream(sending.requests(images))
        try:
            with _reporting_errors():
                for response in call:
                    yield from sending.unsent()
                    yield response
            yield from sending.finish()
        finally:
            call.cancel()

    def watch_results(self, *, models: Iterable[str] = (), cameras: Iterable[str] = ()) -> Iterator[Result]:
        """See `AsyncClient.watch_results`."""
        with _reporting_errors():
            for response in self._analysis.WatchResults(WatchResultsRequest(models=models, cameras=cameras)):
                yield response.result

    def models(self, *, timeout: float = REGISTRY_SECONDS) -> list[Model]:
        """See `AsyncClient.models`."""
        with _reporting_errors():
            return list(self._models.ListModels(ListModelsRequest(), timeout=timeout).models)

    def status(self, *, timeout: float = STATUS_SECONDS) -> GetStatusResponse:
        """See `AsyncClient.status`."""
        with _reporting_errors():
            return self._status.GetStatus(GetStatusRequest(), timeout=timeout)

    def cameras(self, *, timeout: float = REGISTRY_SECONDS) -> list[Camera]:
        """See `AsyncClient.cameras`."""
        with _reporting_errors():
            return list(self._cameras.ListCameras(ListCamerasRequest(), timeout=timeout).cameras)

    def watch_cameras(self) -> Iterator[list[Camera]]:
        """See `AsyncClient.watch_cameras`."""
        with _reporting_errors():
            for response in self._cameras.WatchCameras(WatchCamerasRequest()):
                yield list(response.cameras)

    def watch_models(self) -> Iterator[list[Model]]:
        """See `AsyncClient.watch_models`."""
        with _reporting_errors():
            for response in self._models.WatchModels(WatchModelsRequest()):
                yield list(response.models)

    def deploy(self, spec: ModelSpec, *, timeout: float = REGISTRY_SECONDS) -> ModelSpec:
        """See `AsyncClient.deploy`."""
        return self.deploy_model(spec, timeout=timeout).spec

    def deploy_model(self, spec: ModelSpec, *, timeout: float = REGISTRY_SECONDS) -> DeployModelResponse:
        """See `AsyncClient.deploy_model`."""
        with _reporting_errors():
            return self._models.DeployModel(DeployModelRequest(spec=spec), timeout=timeout)

    def scale(self, model: str, replicas: int, *, timeout: float = REGISTRY_SECONDS) -> ModelSpec:
        """See `AsyncClient.scale`."""
        return self.scale_model(model, replicas, timeout=timeout).spec

    def scale_model(self, model: str, replicas: int, *, timeout: float = REGISTRY_SECONDS) -> ScaleModelResponse:
        """See `AsyncClient.scale_model`."""
        with _reporting_errors():
            return self._models.ScaleModel(ScaleModelRequest(name=model, replicas=replicas), timeout=timeout)

    def promote(
        self, shadow: str, model: str, *, reason: str = "", timeout: float = REGISTRY_SECONDS
    ) -> PromoteModelResponse:
        """See `AsyncClient.promote`."""
        request = PromoteModelRequest(shadow=shadow, model=model, reason=reason)
        with _reporting_errors():
            return self._models.PromoteModel(request, timeout=timeout)

    def roll_back(self, model: str, *, timeout: float = REGISTRY_SECONDS) -> RollBackModelResponse:
        """See `AsyncClient.roll_back`."""
        with _reporting_errors():
            return self._models.RollBackModel(RollBackModelRequest(name=model), timeout=timeout)

    def progress(self, model: str, generation: int) -> Iterator[Model]:
        """See `AsyncClient.progress`."""
        awaited = Awaited[Model](model, generation, "model", ModelNotFoundError)
        for models in self.watch_models():
            if (found := awaited.among(models)) is not None:
                yield found
                if settled(found, generation):
                    return

    def delete(self, model: str, *, timeout: float = REGISTRY_SECONDS) -> None:
        """See `AsyncClient.delete`."""
        with _reporting_errors():
            self._models.DeleteModel(DeleteModelRequest(name=model), timeout=timeout)

    def dead_letters(
        self, wanted: DeadLetterFilter | None = None, *, limit: int = 0, timeout: float = DEAD_LETTER_SECONDS
    ) -> list[KeptDeadLetter]:
        """See `AsyncClient.dead_letters`."""
        request = ListDeadLettersRequest(filter=wanted, limit=limit)
        with _reporting_errors():
            return list(self._dead_letters.ListDeadLetters(request, timeout=timeout).dead_letters)

    def dead_letter(self, number: int, *, timeout: float = DEAD_LETTER_SECONDS) -> KeptDeadLetter:
        """See `AsyncClient.dead_letter`."""
        with _reporting_errors():
            return self._dead_letters.GetDeadLetter(GetDeadLetterRequest(number=number), timeout=timeout).dead_letter

    def retry_dead_letters(self, which: int | DeadLetterFilter) -> Iterator[RetryDeadLettersResponse]:
        """See `AsyncClient.retry_dead_letters`."""
        with _reporting_errors():
            yield from self._dead_letters.RetryDeadLetters(_retry_request(which))

    def correct(
        self, frame_id: str, truth: str | CorrectedObjects, *, model: str = "", timeout: float = CORRECTION_SECONDS
    ) -> Correction:
        """See `AsyncClient.correct`."""
        with _reporting_errors():
            request = correct_request(frame_id, truth, model)
            return self._corrections.CorrectFrame(request, timeout=timeout).correction

    def corrections(
        self, *, camera: str = "", frame_id: str = "", limit: int = 0, timeout: float = CORRECTION_SECONDS
    ) -> list[Correction]:
        """See `AsyncClient.corrections`."""
        request = ListCorrectionsRequest(camera=camera, frame_id=frame_id, limit=limit)
        with _reporting_errors():
            return list(self._corrections.ListCorrections(request, timeout=timeout).corrections)

    def remove_correction(
        self, frame_id: str, *, task: str = "", timeout: float = CORRECTION_SECONDS
    ) -> list[Correction]:
        """See `AsyncClient.remove_correction`."""
        request = RemoveCorrectionRequest(frame_id=frame_id, task=task)
        with _reporting_errors():
            return list(self._corrections.RemoveCorrection(request, timeout=timeout).corrections)

    def replay(
        self, model: str, object_keys: Iterable[str], *, share: float = REPLAY_SHARE, again: bool = False
    ) -> Generator[ReplayResponse, None, None]:
        """See `AsyncClient.replay`. The keys are taken in another thread; closing the iterator ends the replay."""
        with _reporting_errors():
            call = self._replay.Replay(replay_requests(model, object_keys, share=share, again=again))
            try:
                yield from call
            finally:
                call.cancel()

    def archive_progress(self, *, timeout: float = REGISTRY_SECONDS) -> list[ArchivedTable]:
        """See `AsyncClient.archive_progress`."""
        with _reporting_errors():
            return list(self._replay.GetArchiveProgress(GetArchiveProgressRequest(), timeout=timeout).tables)

    def start_training(self, spec: TrainingSpec, *, timeout: float = REGISTRY_SECONDS) -> StartTrainingResponse:
        """See `AsyncClient.start_training`."""
        with _reporting_errors():
            return self._trainings.StartTraining(StartTrainingRequest(spec=spec), timeout=timeout)

    def stop_training(self, name: str, *, timeout: float = REGISTRY_SECONDS) -> StopTrainingResponse:
        """See `AsyncClient.stop_training`."""
        with _reporting_errors():
            return self._trainings.StopTraining(StopTrainingRequest(name=name), timeout=timeout)

    def delete_training(self, name: str, *, timeout: float = REGISTRY_SECONDS) -> None:
        """See `AsyncClient.delete_training`."""
        with _reporting_errors():
            self._trainings.DeleteTraining(DeleteTrainingRequest(name=name), timeout=timeout)

    def trainings(self, *, timeout: float = REGISTRY_SECONDS) -> list[Training]:
        """See `AsyncClient.trainings`."""
        with _reporting_errors():
            return list(self._trainings.ListTrainings(ListTrainingsRequest(), timeout=timeout).trainings)

    def watch_trainings(self) -> Iterator[list[Training]]:
        """See `AsyncClient.watch_trainings`."""
        with _reporting_errors():
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
