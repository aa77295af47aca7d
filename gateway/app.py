"""The composition root: opens what the gateway owns, in order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from framemesh.bus import connect, streams
from framemesh.lake import Lake
from framemesh.rpc.server import serving
from framemesh.service import running
from framemesh.telemetry.page import new_registry, serving_page
from framemesh.v1.analysis_service_pb2 import DESCRIPTOR as ANALYSIS
from framemesh.v1.analysis_service_pb2_grpc import add_AnalysisServiceServicer_to_server
from framemesh.v1.model_service_pb2 import DESCRIPTOR as MODELS
from framemesh.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from framemesh.v1.status_service_pb2 import DESCRIPTOR as STATUS
from framemesh.v1.status_service_pb2_grpc import add_StatusServiceServicer_to_server
from gateway.analysis import Analyzer
from gateway.api import AnalysisApi, ModelApi
from gateway.asking import Asker
from gateway.backlog import Backlog
from gateway.deadletters import DeadLetters
from gateway.fanout import Fanout
from gateway.holding import FrameHold
from gateway.lanes import LaneParts
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry
from gateway.results import Results
from gateway.settings import GatewaySettings
from gateway.status import Status, StatusApi
from gateway.storing import Storer
from gateway.syncing import DiskSync


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that runs. Ports are those it got."""

    grpc_port: int
    http_port: int


@asynccontextmanager
async def gateway(settings: GatewaySettings) -> AsyncIterator[Gateway]:
    """The whole gateway around the block: connections, then what uses them, then the door; closed in reverse."""
    registry_of_metrics = new_registry()
    metrics = GatewayMetrics(registry_of_metrics)
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect(settings.nats_url.get_secret_value(), name="gateway"))
        lake = await Lake.from_settings(settings, bucket=settings.s3_frames_bucket).when_there()
        await streams.ensure(bus, settings.stream_sizes())
        registry = Registry(bus, metrics)
        asker = await stack.enter_async_context(Asker(registry))
        hold = FrameHold(settings.hold_bytes)
        deadletters = DeadLetters(bus)
        storer = Storer(
            bus,
            lake,
            hold,
            deadletters,
            metrics,
            sync=DiskSync(settings.store_sync_folder),
            workers=settings.store_workers,
            max_bytes=settings.store_bytes,
        )
        parts = LaneParts(bus, lake, hold, asker, Results(bus, metrics), deadletters, metrics)
        fanout = Fanout(registry, parts)
        await stack.enter_async_context(
            running(registry, fanout, storer, Backlog(bus, metrics), bus, drain_seconds=settings.drain_seconds)
        )
        http_port = await stack.enter_async_context(
            serving_page(settings.http_address, registry_of_metrics, {"nats": bus.problem})
        )
        services = {
            ANALYSIS.services_by_name["AnalysisService"].full_name: lambda server: (
                add_AnalysisServiceServicer_to_server(
                    AnalysisApi(Analyzer(registry, asker, lake, metrics), bus, metrics), server
                )
            ),
            STATUS.services_by_name["StatusService"].full_name: lambda server: add_StatusServiceServicer_to_server(
                StatusApi(Status(bus, lake, registry, storer.problem)), server
            ),
            MODELS.services_by_name["ModelService"].full_name: lambda server: add_ModelServiceServicer_to_server(
                ModelApi(registry), server
            ),
        }
        server = await stack.enter_async_context(
            serving(settings.grpc_address, services, drain_seconds=settings.drain_seconds)
        )
        await server.set_serving(serving=True)
        yield Gateway(server.port, http_port)
