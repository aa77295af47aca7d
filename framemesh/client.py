"""Clients of the gateway, for threads and for asyncio. Answers are the protos' own messages."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from framemesh.limits import check_size
from framemesh.rpc.channels import open_channel, open_sync_channel
from framemesh.rpc.status import from_rpc_error
from framemesh.v1.analysis_service_pb2 import AnalyzeRequest, AnalyzeResponse, WatchResultsRequest
from framemesh.v1.analysis_service_pb2_grpc import AnalysisServiceStub
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.model_pb2 import Model, ModelSpec
from framemesh.v1.model_service_pb2 import (
    DeleteModelRequest,
    DeployModelRequest,
    ListModelsRequest,
    ScaleModelRequest,
    WatchModelsRequest,
)
from framemesh.v1.model_service_pb2_grpc import ModelServiceStub
from framemesh.v1.replay_service_pb2 import (
    ArchivedTable,
    GetArchiveProgressRequest,
    ReplayRequest,
    ReplayResponse,
)
from framemesh.v1.replay_service_pb2_grpc import ReplayServiceStub
from framemesh.v1.result_pb2 import Result

ANALYZE_SECONDS = 10.0
REGISTRY_SECONDS = 5.0
REPLAY_SHARE = 0.5

_KEYS_AT_ONCE = 32  # of a replay: a gateway that stops still answers those that it has
_KEYS_AHEAD = 512  # more than are answered between two words from the gateway

Image = bytes | Path
"""An encoded image, or the path of a file that holds one."""


def analyze_request(
    image: Image | None, object_key: str | None, models: Iterable[str], options: AnswerOptions
) -> AnalyzeRequest:
    """The request for an image, or for a stored frame.

    Raises:
        ImageTooLargeError: The image is over the limit; nothing is sent, nor read from its file.
        ValueError: Both or neither were given.
        OSError: The file can't be read.
    """
    if (image is None) == (object_key is None):
        raise ValueError("give either an image or the object_key of a stored frame")
    request = AnalyzeRequest(models=models, options=options)
    if object_key is not None:
        request.object_key = object_key
    if image is not None:
        check_size(image.stat().st_size if isinstance(image, Path) else len(image))
        request.image = image.read_bytes() if isinstance(image, Path) else image
    return request


def replay_requests(model: str, keys: Iterable[str], *, share: float, again: bool) -> Iterator[ReplayRequest]:
    """The messages of a replay."""
    yield ReplayRequest(model=model, share=share, again=again)
    left = iter(keys)
    while several := list(islice(left, _KEYS_AT_ONCE)):
        yield ReplayRequest(object_keys=several)


class _Done:
    """How many frames of a replay are done; `changed` tells of news."""

    def __init__(self) -> None:
        self.count = 0
        self.changed = asyncio.Event()

    def note(self, response: ReplayResponse) -> None:
        self.count = response.succeeded_count + response.failed_count + response.gone_count
        self.changed.set()


async def _paced(requests: Iterator[ReplayRequest], done: _Done) -> AsyncIterator[ReplayRequest]:
    """The messages of a replay, each when there is word from the gateway and it has few left.

    grpc.aio forgets why a call ended when it ends under a message on its way: between them nothing is.
    """
    sent = 0
    yield next(requests)
    await done.changed.wait()
    for request in requests:
        while sent >= done.count + _KEYS_AHEAD:
            done.changed.clear()
            await done.changed.wait()
        sent += len(request.object_keys)
        yield request


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
    """

    def __init__(self, address: str) -> None:
        self._channel = open_channel(address)
        self._analysis = AnalysisServiceStub(self._channel)
        self._models = ModelServiceStub(self._channel)
        self._replay = ReplayServiceStub(self._channel)

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
        max_label_count: int = 0,
        candidate_labels: Sequence[str] = (),
        min_score: float | None = None,
        timeout: float = ANALYZE_SECONDS,
    ) -> AnalyzeResponse:
        """Ask models about an image, or about a stored frame.

        Args:
            image: A JPEG, PNG or WebP file's bytes, or its path.
            object_key: Key of a stored frame, instead of an image.
            models: Who is asked; none means all.
            max_label_count: How many classes a classification names at most; 0 means 5.
            candidate_labels: What a zero-shot model looks for, in words; none means the labels of its spec.
            min_score: The least score of an object or segment that is named, from 0 to 1; none means the model's own.
            timeout: Seconds that it may take in all.
        """
        options = AnswerOptions(max_label_count=max_label_count, candidate_labels=candidate_labels, min_score=min_score)
        request = analyze_request(image, object_key, models, options)
        with _reporting_errors():
            return await self._analysis.Analyze(request, timeout=timeout)

    async def watch_results(self, *, models: Iterable[str] = (), cameras: Iterable[str] = ()) -> AsyncIterator[Result]:
        """Yield results as they come, until the caller stops; none of `models` or `cameras` means all of them."""
        with _reporting_errors():
            async for response in self._analysis.WatchResults(WatchResultsRequest(models=models, cameras=cameras)):
                yield response.result

    async def models(self, *, timeout: float = REGISTRY_SECONDS) -> list[Model]:
        """What is deployed, by name, with the live servers of each."""
        with _reporting_errors():
            return list((await self._models.ListModels(ListModelsRequest(), timeout=timeout)).models)

    async def watch_models(self) -> AsyncIterator[list[Model]]:
        """Yield what is deployed, at once and after each change."""
        with _reporting_errors():
            async for response in self._models.WatchModels(WatchModelsRequest()):
                yield list(response.models)

    async def deploy(self, spec: ModelSpec, *, timeout: float = REGISTRY_SECONDS) -> ModelSpec:
        """Ask for a model, or for another form of it; returns the spec with its defaults."""
        with _reporting_errors():
            return (await self._models.DeployModel(DeployModelRequest(spec=spec), timeout=timeout)).spec

    async def scale(self, model: str, replicas: int, *, timeout: float = REGISTRY_SECONDS) -> ModelSpec:
        """Ask for another number of a model's servers."""
        request = ScaleModelRequest(name=model, replicas=replicas)
        with _reporting_errors():
            return (await self._models.ScaleModel(request, timeout=timeout)).spec

    async def delete(self, model: str, *, timeout: float = REGISTRY_SECONDS) -> None:
        """Ask for a model no more."""
        with _reporting_errors():
            await self._models.DeleteModel(DeleteModelRequest(name=model), timeout=timeout)

    async def replay(
        self, model: str, object_keys: Iterable[str], *, share: float = REPLAY_SHARE, again: bool = False
    ) -> AsyncGenerator[ReplayResponse, None]:
        """Run a model over stored frames; yields how far it has come, a few times a second and at the end.

        Args:
            model: Name of a deployed model.
            object_keys: Keys of the frames, taken at the pace of the answers: they may be millions.
            share: The most of the model's capacity that it takes while live frames come, over 0 and up to 1.
            again: Whether frames that were answered minutes ago are answered anew.
        """
        with _reporting_errors():
            done = _Done()
            requests = replay_requests(model, object_keys, share=share, again=again)
            call = self._replay.Replay(_paced(requests, done))
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


class Client:
    """A mesh's gateway, for programs without asyncio. Safe to share between threads.

    Every method raises as `AsyncClient`'s does.

    Args:
        address: The gateway's gRPC address, as `host:port`.
    """

    def __init__(self, address: str) -> None:
        self._channel = open_sync_channel(address)
        self._analysis = AnalysisServiceStub(self._channel)
        self._models = ModelServiceStub(self._channel)
        self._replay = ReplayServiceStub(self._channel)

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
        max_label_count: int = 0,
        candidate_labels: Sequence[str] = (),
        min_score: float | None = None,
        timeout: float = ANALYZE_SECONDS,
    ) -> AnalyzeResponse:
        """See `AsyncClient.analyze`."""
        options = AnswerOptions(max_label_count=max_label_count, candidate_labels=candidate_labels, min_score=min_score)
        request = analyze_request(image, object_key, models, options)
        with _reporting_errors():
            return self._analysis.Analyze(request, timeout=timeout)

    def watch_results(self, *, models: Iterable[str] = (), cameras: Iterable[str] = ()) -> Iterator[Result]:
        """See `AsyncClient.watch_results`."""
        with _reporting_errors():
            for response in self._analysis.WatchResults(WatchResultsRequest(models=models, cameras=cameras)):
                yield response.result

    def models(self, *, timeout: float = REGISTRY_SECONDS) -> list[Model]:
        """See `AsyncClient.models`."""
        with _reporting_errors():
            return list(self._models.ListModels(ListModelsRequest(), timeout=timeout).models)

    def deploy(self, spec: ModelSpec, *, timeout: float = REGISTRY_SECONDS) -> ModelSpec:
        """See `AsyncClient.deploy`."""
        with _reporting_errors():
            return self._models.DeployModel(DeployModelRequest(spec=spec), timeout=timeout).spec

    def scale(self, model: str, replicas: int, *, timeout: float = REGISTRY_SECONDS) -> ModelSpec:
        """See `AsyncClient.scale`."""
        with _reporting_errors():
            return self._models.ScaleModel(ScaleModelRequest(name=model, replicas=replicas), timeout=timeout).spec

    def delete(self, model: str, *, timeout: float = REGISTRY_SECONDS) -> None:
        """See `AsyncClient.delete`."""
        with _reporting_errors():
            self._models.DeleteModel(DeleteModelRequest(name=model), timeout=timeout)

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
