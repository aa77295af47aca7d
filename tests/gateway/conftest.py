"""A real gateway on real NATS and S3 servers, and a gRPC model server whose answers a test chooses."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr

from framemesh.bus import Bus, routes, streams
from framemesh.bus.states import unfinished
from framemesh.bus.streams import ROUTES_BUCKET
from framemesh.client import AsyncClient
from framemesh.frames import FrameId, headers, subject
from framemesh.rpc.server import serving
from framemesh.specs import parse
from framemesh.v1 import inference_service_pb2_grpc as pb2_grpc
from framemesh.v1.model_pb2 import ModelReplica, ReplicaState
from framemesh.v1.result_pb2 import Result
from gateway.app import gateway
from gateway.settings import GatewaySettings
from tests.gateway.echo import EchoModel


async def until(condition: Callable[[], Any], *, seconds: float = 60.0) -> Any:
    """Wait for a condition, plain or awaitable, and return what it gave."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def settings(nats: str, s3: dict[str, str]) -> GatewaySettings:
    return GatewaySettings(
        nats_url=SecretStr(nats),
        s3_endpoint=s3["FRAMEMESH_S3_ENDPOINT"],
        s3_access_key=SecretStr(s3["FRAMEMESH_S3_ACCESS_KEY"]),
        s3_secret_key=SecretStr(s3["FRAMEMESH_S3_SECRET_KEY"]),
        frames_stream_bytes=256 << 20,
        stored_stream_bytes=64 << 20,
        results_stream_bytes=64 << 20,
        deadletters_stream_bytes=64 << 20,
        drain_seconds=5,
    )


@pytest.fixture(scope="module")
async def client(settings: GatewaySettings) -> AsyncIterator[AsyncClient]:
    """A client of a running gateway."""
    async with gateway(settings) as running, AsyncClient(f"127.0.0.1:{running.grpc_port}") as client:
        yield client


async def deploy(client: AsyncClient, bus: Bus, text: str) -> None:
    """Deploy a model and wait until it has its consumer: it sees what is published from then on."""
    spec = await client.deploy(parse(text))
    await until(lambda: has_consumer(bus, spec.name))


async def stored_all(bus: Bus) -> bool:
    """Whether no frame waits to be stored. Asked of the stream: its consumer counts a frame a moment later."""
    return not (await bus.js.stream_info(streams.FRAMES)).state.messages


async def has_consumer(bus: Bus, model: str) -> bool:
    """Whether a model has its consumer now."""
    return streams.model_consumer(model) in [info.name for info in await bus.js.consumers_info(streams.STORED)]


async def is_done(bus: Bus, model: str) -> bool:
    """Whether a model has nothing to do: all that it was sent is acknowledged."""
    return not unfinished(await bus.js.consumer_info(streams.STORED, streams.model_consumer(model)))


@asynccontextmanager
async def serving_model(
    bus: Bus, name: str, *, replica: str = "0", workers: int = 0, version: str = "1"
) -> AsyncIterator[EchoModel]:
    """A model server that answers and says so in the routes."""
    model = EchoModel(name, version)
    model.open_gate.set()
    service = "framemesh.v1.InferenceService"
    add = {service: lambda server: pb2_grpc.add_InferenceServiceServicer_to_server(model, server)}
    async with serving("127.0.0.1:0", add, drain_seconds=0) as server:
        await server.set_serving(serving=True)
        entry = ModelReplica(
            model=name,
            replica=replica,
            grpc_address=f"127.0.0.1:{server.port}",
            state=ReplicaState.REPLICA_STATE_SERVING,
            worker_count=workers,
            model_version=version,
        )
        beating = asyncio.create_task(_beat(bus, entry))
        try:
            yield model
        finally:
            beating.cancel()
            model.open_gate.set()
            bucket = await bus.js.key_value(ROUTES_BUCKET)
            await bucket.delete(routes.route_key(entry))


async def _beat(bus: Bus, entry: ModelReplica) -> None:
    bucket = await bus.js.key_value(ROUTES_BUCKET)
    while True:
        now = Timestamp()
        now.GetCurrentTime()
        await bucket.put(routes.route_key(entry), routes.dump(entry, now))
        await asyncio.sleep(routes.HEARTBEAT_SECONDS)


async def publish(bus: Bus, camera: str, body: bytes, *, sequence: int = 1) -> FrameId:
    """Publish a frame as our own ingest does."""
    frame_id = FrameId(camera, time.time_ns())
    fields = headers(frame_id, content_type="image/jpeg", width_px=64, height_px=48, sequence=sequence)
    await bus.publish(subject(camera), body, fields, timeout=60)
    return frame_id


class Results:
    """Everything that comes by on `results.>` while it listens."""

    def __init__(self) -> None:
        self.all: list[Result] = []

    def of(self, model: str) -> list[Result]:
        return [result for result in self.all if result.answer.model == model]


@pytest.fixture
async def results(bus: Bus) -> AsyncIterator[Results]:
    listening = Results()

    async def take(message: Any) -> None:
        listening.all.append(Result.FromString(message.data))

    subscription = await bus.client.subscribe("results.>", cb=take)
    yield listening
    await subscription.unsubscribe()
