"""The composition root: opens what the gateway owns, in order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from google.protobuf.descriptor import FileDescriptor

from framemesh.bus import connect, streams
from framemesh.bus.loglines import LogLines
from framemesh.bus.presence import Presence
from framemesh.lake import Lake
from framemesh.limits import ImageLimits
from framemesh.rpc.server import Register, serving
from framemesh.service import running
from framemesh.telemetry.disk import DiskMetrics
from framemesh.telemetry.page import new_registry, serving_page
from framemesh.v1.analysis_service_pb2 import DESCRIPTOR as ANALYSIS
from framemesh.v1.analysis_service_pb2_grpc import add_AnalysisServiceServicer_to_server
from framemesh.v1.camera_service_pb2 import DESCRIPTOR as CAMERAS
from framemesh.v1.camera_service_pb2_grpc import add_CameraServiceServicer_to_server
from framemesh.v1.correction_service_pb2 import DESCRIPTOR as CORRECTIONS
from framemesh.v1.correction_service_pb2_grpc import add_CorrectionServiceServicer_to_server
from framemesh.v1.dead_letter_service_pb2 import DESCRIPTOR as DEAD_LETTERS
from framemesh.v1.dead_letter_service_pb2_grpc import add_DeadLetterServiceServicer_to_server
from framemesh.v1.model_service_pb2 import DESCRIPTOR as MODELS
from framemesh.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from framemesh.v1.replay_service_pb2 import DESCRIPTOR as REPLAY
from framemesh.v1.replay_service_pb2_grpc import add_ReplayServiceServicer_to_server
from framemesh.v1.status_service_pb2 import DESCRIPTOR as STATUS
from framemesh.v1.status_service_pb2_grpc import add_StatusServiceServicer_to_server
from framemesh.v1.training_service_pb2 import DESCRIPTOR as TRAININGS
from framemesh.v1.training_service_pb2_grpc import add_TrainingServiceServicer_to_server
from gateway import door
from gateway.analysis import Analyzer
from gateway.api import AnalysisApi, ModelApi
from gateway.asking import Asker
from gateway.backlog import Backlog
from gateway.camera_api import CameraApi
from gateway.cameras import Cameras
from gateway.correcting import Corrector
from gateway.correction_api import CorrectionApi
from gateway.dead_letter_api import DeadLetterApi
from gateway.deadletters import DeadLetters
from gateway.fanout import Fanout
from gateway.holding import FrameHold
from gateway.lanes import LaneParts
from gateway.loads import Loads
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry
from gateway.replay_api import ReplayApi
from gateway.replaying import Replayer, ReplayParts
from gateway.results import Results
from gateway.retrying import Retrier
from gateway.room import Room
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.status import Status
from gateway.status_api import StatusApi
from gateway.storing import Storer
from gateway.syncing import DiskSync
from gateway.training_api import TrainingApi
from gateway.trainings import Trainings


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
    disks = DiskMetrics(registry_of_metrics)
    if settings.store_sync_folder is not None:
        disks.show("lake", settings.store_sync_folder)
    room = Room(settings.analyze_images, settings.analyze_bytes, metrics)
    connections = door.connections(settings, metrics)
    admission = door.admission(settings, room, metrics)
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
        results = Results(bus, metrics)
        parts = LaneParts(bus, lake, hold, asker, results, deadletters, metrics)
        fanout = Fanout(registry, parts)
        cameras = Cameras(bus)
        services = Services(bus)
        trainings = Trainings(bus, Lake.from_settings(settings, bucket=settings.s3_datasets_bucket))
        components = (registry, fanout, storer, cameras, services, trainings)
        telling = (
            Backlog(bus, registry, metrics),
            Loads(registry, asker, metrics),
            Presence(bus, "gateway"),
            LogLines(bus),
        )
        await stack.enter_async_context(running(*components, *telling, bus, drain_seconds=settings.drain_seconds))
        http_port = await stack.enter_async_context(
            serving_page(settings.http_address, registry_of_metrics, {"nats": bus.problem})
        )
        limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        analyzer = Analyzer(registry, asker, lake, metrics, room, limits)
        replayer = Replayer(ReplayParts(registry, asker, lake, results, deadletters, metrics))
        retrier = Retrier(bus, lake, registry, asker, results)
        status = Status(bus, lake, registry, services, storer.problem)
        apis: dict[str, Register] = {
            _name(ANALYSIS): partial(add_AnalysisServiceServicer_to_server, AnalysisApi(analyzer, room, bus, metrics)),
            _name(MODELS): partial(add_ModelServiceServicer_to_server, ModelApi(registry)),
            _name(TRAININGS): partial(add_TrainingServiceServicer_to_server, TrainingApi(trainings)),
            _name(REPLAY): partial(add_ReplayServiceServicer_to_server, ReplayApi(replayer, bus)),
            _name(DEAD_LETTERS): partial(add_DeadLetterServiceServicer_to_server, DeadLetterApi(retrier)),
            _name(CORRECTIONS): partial(add_CorrectionServiceServicer_to_server, CorrectionApi(Corrector(bus, lake))),
            _name(CAMERAS): partial(add_CameraServiceServicer_to_server, CameraApi(cameras)),
            _name(STATUS): partial(add_StatusServiceServicer_to_server, StatusApi(status)),
        }
        server = await stack.enter_async_context(
            serving(
                settings.grpc_address,
                apis,
                drain_seconds=settings.drain_seconds,
                connections=connections,
                admission=admission,
            )
        )
        await server.set_serving(serving=True)
        yield Gateway(server.port, http_port)


def _name(proto: FileDescriptor) -> str:
    """The full name of the one service that a file of ours has."""
    (service,) = proto.services_by_name.values()
    return str(service.full_name)
