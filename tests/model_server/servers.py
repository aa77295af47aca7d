"""Real model servers for tests, opened through the composition root or as processes."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from framemesh.rpc.channels import open_channel
from framemesh.v1.inference_service_pb2_grpc import InferenceServiceStub
from model_server.app import model_server
from model_server.settings import ModelServerSettings


@dataclass(frozen=True, slots=True)
class Client:
    """A client of a server, whose ports it knows."""

    stub: Any
    channel: grpc.aio.Channel
    grpc_port: int
    http_port: int


def settings(source: Path, cache: Path, **options: Any) -> ModelServerSettings:
    return ModelServerSettings(
        **{"model_name": "tiny", "model_source": str(source), "model_cache": cache, "workers": 2, **options}
    )


@asynccontextmanager
async def listening(settings: ModelServerSettings) -> AsyncIterator[Client]:
    """A client of a server that listens; its model may not be up yet."""
    async with model_server(settings) as server, open_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield Client(InferenceServiceStub(channel), channel, server.grpc_port, server.http_port)


@asynccontextmanager
async def serving(settings: ModelServerSettings) -> AsyncIterator[Client]:
    """A client of a server whose model answers."""
    async with listening(settings) as client:
        await until_serving(client.channel)
        yield client


async def until_serving(channel: grpc.aio.Channel) -> None:
    """Wait until the model answers."""
    health: Any = health_pb2_grpc.HealthStub(channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=100, wait_for_ready=True)
    try:
        async for status in watch:
            if status.status == health_pb2.HealthCheckResponse.SERVING:
                return
    finally:
        watch.cancel()  # an open watch would keep the server from ending
    raise AssertionError("the server ended before its model answered")


@asynccontextmanager
async def process(source: str, cache: Path, port: int, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A model server as a process of its own, its log on the pipe of standard error."""
    own = {
        "FRAMEMESH_MODEL_NAME": "tiny",
        "FRAMEMESH_MODEL_SOURCE": source,
        "FRAMEMESH_MODEL_CACHE": str(cache),
        "FRAMEMESH_GRPC_ADDRESS": f"127.0.0.1:{port}",
        "FRAMEMESH_WORKERS": "2",
        **env,
    }
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "model_server", env={**os.environ, **own}, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield server
    finally:
        if server.returncode is None:
            server.kill()
        await server.communicate()


async def logged(server: asyncio.subprocess.Process, event: str) -> str:
    """The first line of the process's log with this event."""
    assert server.stderr is not None
    async for line in server.stderr:
        if f'"event": "{event}"' in line.decode():
            return line.decode()
    raise AssertionError(f"the server ended without {event}")


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    body = BytesIO()
    image.save(body, image_format, **options)
    return body.getvalue()
