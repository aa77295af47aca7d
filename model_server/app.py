"""The composition root: opens what the model server owns, in order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from framemesh.rpc.server import serving
from framemesh.service import running
from framemesh.telemetry.page import new_registry, serving_page
from framemesh.v1.inference_service_pb2 import DESCRIPTOR
from framemesh.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from framemesh.v1.model_pb2 import ReplicaState
from model_server.announcing import Announcer, Presence
from model_server.api import InferenceApi
from model_server.hosting import ModelHost, ModelPlan
from model_server.metrics import ModelServerMetrics
from model_server.settings import ModelServerSettings


@dataclass(frozen=True, slots=True)
class ModelServer:
    """A model server that listens. Ports are those it got."""

    grpc_port: int
    http_port: int


@asynccontextmanager
async def model_server(settings: ModelServerSettings) -> AsyncIterator[ModelServer]:
    """The whole server around the block. It listens at once, and answers when its model is up.

    On leaving: it announces that it drains, answers the calls under way, and takes its entry back.
    """
    registry = new_registry()
    metrics = ModelServerMetrics(registry)
    metrics.begin(settings.model_name)
    presence = Presence(settings.model_name, settings.replica, workers=settings.workers)
    plan = ModelPlan(
        name=settings.model_name,
        source=settings.model_source,
        revision=settings.model_revision,
        runtime=settings.model_runtime,
        cache=settings.model_cache,
        workers=settings.workers,
        max_batch=settings.max_batch,
        max_queue=settings.max_queue,
    )
    host = ModelHost(plan, presence, metrics)
    announcers = [Announcer(settings.nats_url.get_secret_value(), presence)] if settings.nats_url else []
    api = InferenceApi(settings.model_name, settings.model_source, host, metrics)
    service = DESCRIPTOR.services_by_name["InferenceService"].full_name
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(*announcers, host, drain_seconds=settings.drain_seconds))
        http_port = await stack.enter_async_context(
            serving_page(settings.http_address, registry, {"model": host.problem})
        )
        server = await stack.enter_async_context(
            serving(
                settings.grpc_address,
                {service: lambda door: add_InferenceServiceServicer_to_server(api, door)},
                drain_seconds=settings.drain_seconds,
            )
        )
        presence.open(f"{settings.advertise_host}:{server.port}")
        host.open(server)
        try:
            yield ModelServer(server.port, http_port)
        finally:
            presence.become(ReplicaState.REPLICA_STATE_DRAINING)
