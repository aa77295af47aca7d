"""The composition root: opens what the model server owns, in order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from framemesh.oip import grpc_service_pb2 as oip
from framemesh.oip.grpc_service_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from framemesh.rpc.server import Register, serving
from framemesh.service import running
from framemesh.telemetry.page import new_registry, serving_page
from framemesh.v1.inference_service_pb2 import DESCRIPTOR
from framemesh.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from model_server.announcing import Announcer, Presence
from model_server.api import InferenceApi
from model_server.building import Order
from model_server.hosting import ModelHost, ModelPlan
from model_server.metrics import ModelServerMetrics
from model_server.oip.api import InferenceProtocolApi
from model_server.settings import ModelServerSettings
from model_server.triton_metrics import TritonCollector
from model_server.trust import Trust


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
    registry.register(TritonCollector(metrics))
    presence = Presence(settings.model_name, settings.replica, workers=settings.workers)
    plan = ModelPlan(
        name=settings.model_name,
        order=Order(
            source=settings.model_source,
            cache=settings.model_cache,
            revision=settings.model_revision,
            runtime=settings.model_runtime,
            precision=settings.model_precision,
            task=settings.model_task,
            trust=Trust(pickle=settings.model_allow_pickle, remote_code=settings.model_trust_remote_code),
            samples=settings.model_samples,
            store=settings,
        ),
        labels=settings.model_labels,
        preprocessing=None if settings.model_preprocessing == "auto" else settings.model_preprocessing,
        workers=settings.workers,
        max_batch=settings.max_batch,
        max_queue=settings.max_queue,
        max_queue_delay=settings.max_queue_delay,
    )
    host = ModelHost(plan, presence, metrics)
    announcers = [Announcer(settings.nats_url.get_secret_value(), presence)] if settings.nats_url else []
    api = InferenceApi(settings.model_name, settings.model_source, host, metrics)
    oip_api = InferenceProtocolApi(
        settings.model_name, host, metrics, max_batch=settings.max_batch, max_images=settings.max_queue
    )
    services: dict[str, Register] = {
        DESCRIPTOR.services_by_name["InferenceService"].full_name: partial(add_InferenceServiceServicer_to_server, api),
        oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name: partial(
            add_GRPCInferenceServiceServicer_to_server, oip_api
        ),
    }
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(*announcers, host, drain_seconds=settings.drain_seconds))
        http_port = await stack.enter_async_context(
            serving_page(settings.http_address, registry, {"model": host.problem})
        )
        server = await stack.enter_async_context(
            serving(
                settings.grpc_address,
                services,
                drain_seconds=settings.drain_seconds,
                models=[settings.model_name],
            )
        )
        presence.open(f"{settings.advertise_host}:{server.port}")
        host.open(server)
        try:
            yield ModelServer(server.port, http_port)
        finally:
            await host.drain(settings.drain_seconds)
