"""What is deployed, and wishes for other models."""

from collections.abc import AsyncIterator, Iterator

import grpc

from framemesh.awaiting import Awaited
from framemesh.client.parts import REGISTRY_SECONDS, AsyncPart, Part, reporting_errors
from framemesh.deploying import settled
from framemesh.errors import ModelNotFoundError
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


class AsyncModels(AsyncPart):
    """`ModelService`, for asyncio."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._models = ModelServiceStub(channel)

    async def models(self, *, timeout: float = REGISTRY_SECONDS) -> list[Model]:
        """What is deployed, by name, with the live servers of each."""
        return list((await self._ask(self._models.ListModels, ListModelsRequest(), timeout)).models)

    async def watch_models(self) -> AsyncIterator[list[Model]]:
        """Yield what is deployed, at once and after each change."""
        with reporting_errors():
            async for response in self._models.WatchModels(WatchModelsRequest()):
                yield list(response.models)

    async def deploy(
        self, spec: ModelSpec, *, expected_generation: int | None = None, timeout: float = REGISTRY_SECONDS
    ) -> ModelSpec:
        """Ask for a model, or for another form of it; returns the spec with its defaults.

        Args:
            spec: The model.
            expected_generation: The `Model.generation` that it may replace, so that nobody's change is lost unseen; 0
                where there must be none of the name, None for whatever there is.
            timeout: In seconds.

        Raises:
            ModelExistsError: There is one of that name, and there was to be none.
            ModelChangedError: The one of that name is of another generation.
            ModelNotFoundError: The one that was expected is gone.
        """
        return (await self.deploy_model(spec, expected_generation=expected_generation, timeout=timeout)).spec

    async def deploy_model(
        self, spec: ModelSpec, *, expected_generation: int | None = None, timeout: float = REGISTRY_SECONDS
    ) -> DeployModelResponse:
        """As `deploy`, with the wish's generation, for `progress`."""
        request = DeployModelRequest(spec=spec, expected_generation=expected_generation)
        return await self._ask(self._models.DeployModel, request, timeout)

    async def scale(self, model: str, replicas: int, *, timeout: float = REGISTRY_SECONDS) -> ModelSpec:
        """Ask for another number of a model's servers."""
        return (await self.scale_model(model, replicas, timeout=timeout)).spec

    async def scale_model(self, model: str, replicas: int, *, timeout: float = REGISTRY_SECONDS) -> ScaleModelResponse:
        """As `scale`, with the wish's generation, for `progress`."""
        request = ScaleModelRequest(name=model, replicas=replicas)
        return await self._ask(self._models.ScaleModel, request, timeout)

    async def promote(
        self, shadow: str, model: str, *, reason: str = "", timeout: float = REGISTRY_SECONDS
    ) -> PromoteModelResponse:
        """Ask for a model to be served by a shadow's version; `reason` is for its history."""
        request = PromoteModelRequest(shadow=shadow, model=model, reason=reason)
        return await self._ask(self._models.PromoteModel, request, timeout)

    async def roll_back(self, model: str, *, timeout: float = REGISTRY_SECONDS) -> RollBackModelResponse:
        """Ask for a model to be served by the version that served before."""
        return await self._ask(self._models.RollBackModel, RollBackModelRequest(name=model), timeout)

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
        await self._ask(self._models.DeleteModel, DeleteModelRequest(name=model), timeout)


class Models(Part):
    """`ModelService`, for threads."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._models = ModelServiceStub(channel)

    def models(self, *, timeout: float = REGISTRY_SECONDS) -> list[Model]:
        """See `AsyncClient.models`."""
        return list(self._ask(self._models.ListModels, ListModelsRequest(), timeout).models)

    def watch_models(self) -> Iterator[list[Model]]:
        """See `AsyncClient.watch_models`."""
        with reporting_errors():
            for response in self._models.WatchModels(WatchModelsRequest()):
                yield list(response.models)

    def deploy(
        self, spec: ModelSpec, *, expected_generation: int | None = None, timeout: float = REGISTRY_SECONDS
    ) -> ModelSpec:
        """See `AsyncClient.deploy`."""
        return self.deploy_model(spec, expected_generation=expected_generation, timeout=timeout).spec

    def deploy_model(
        self, spec: ModelSpec, *, expected_generation: int | None = None, timeout: float = REGISTRY_SECONDS
    ) -> DeployModelResponse:
        """See `AsyncClient.deploy_model`."""
        request = DeployModelRequest(spec=spec, expected_generation=expected_generation)
        return self._ask(self._models.DeployModel, request, timeout)

    def scale(self, model: str, replicas: int, *, timeout: float = REGISTRY_SECONDS) -> ModelSpec:
        """See `AsyncClient.scale`."""
        return self.scale_model(model, replicas, timeout=timeout).spec

    def scale_model(self, model: str, replicas: int, *, timeout: float = REGISTRY_SECONDS) -> ScaleModelResponse:
        """See `AsyncClient.scale_model`."""
        return self._ask(self._models.ScaleModel, ScaleModelRequest(name=model, replicas=replicas), timeout)

    def promote(
        self, shadow: str, model: str, *, reason: str = "", timeout: float = REGISTRY_SECONDS
    ) -> PromoteModelResponse:
        """See `AsyncClient.promote`."""
        request = PromoteModelRequest(shadow=shadow, model=model, reason=reason)
        return self._ask(self._models.PromoteModel, request, timeout)

    def roll_back(self, model: str, *, timeout: float = REGISTRY_SECONDS) -> RollBackModelResponse:
        """See `AsyncClient.roll_back`."""
        return self._ask(self._models.RollBackModel, RollBackModelRequest(name=model), timeout)

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
        self._ask(self._models.DeleteModel, DeleteModelRequest(name=model), timeout)
