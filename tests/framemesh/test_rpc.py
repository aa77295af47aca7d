"""Errors over a real gRPC connection, and health."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from framemesh import errors
from framemesh.errors import ConfigurationError, FramemeshError, ModelNotFoundError, QueueFullError
from framemesh.rpc.channels import open_channel
from framemesh.rpc.server import MAX_MESSAGE_BYTES, RpcServer, serving
from framemesh.rpc.status import CODES, from_rpc_error
from framemesh.v1 import model_service_pb2 as pb2
from framemesh.v1 import model_service_pb2_grpc as pb2_grpc


class Failing(pb2_grpc.ModelServiceServicer):
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise self._error

    async def WatchModels(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        yield pb2.WatchModelsResponse()
        raise self._error


@asynccontextmanager
async def failing(error: Exception) -> AsyncIterator[tuple[RpcServer, grpc.aio.Channel]]:
    service = Failing(error)  # type: ignore[abstract]
    add = {"framemesh.v1.ModelService": lambda server: pb2_grpc.add_ModelServiceServicer_to_server(service, server)}
    async with (
        serving("127.0.0.1:0", add, drain_seconds=0) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield server, channel


def family(kind: type[FramemeshError]) -> list[type[FramemeshError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in family(child))]


def test_every_error_that_the_library_defines_has_a_code_and_a_reason_of_its_own() -> None:
    public = [kind for kind in family(FramemeshError)[1:] if kind.__module__ == errors.__name__]
    assert set(public) == set(CODES)
    assert len({kind.reason for kind in public}) == len(public)


@pytest.mark.parametrize("kind", list(CODES))
async def test_an_error_arrives_as_itself(kind: type[FramemeshError]) -> None:
    async with failing(kind("what happened; what to do", model="vit", known="a, b")) as (_, channel):
        with pytest.raises(grpc.RpcError) as caught:
            await pb2_grpc.ModelServiceStub(channel).ListModels(pb2.ListModelsRequest(), timeout=5)
    error = from_rpc_error(caught.value)
    assert type(error) is kind
    assert str(error) == "what happened; what to do"
    assert error.values == {"model": "vit", "known": "a, b"}


async def test_an_error_in_the_middle_of_a_stream_arrives_as_itself() -> None:
    async with failing(ModelNotFoundError("gone")) as (_, channel):
        stream = pb2_grpc.ModelServiceStub(channel).WatchModels(pb2.WatchModelsRequest(), timeout=5)
        with pytest.raises(grpc.RpcError) as caught:
            async for _ in stream:
                pass
    assert type(from_rpc_error(caught.value)) is ModelNotFoundError


async def test_a_fault_is_told_only_as_internal() -> None:
    async with failing(RuntimeError("the secret is 42")) as (_, channel):
        with pytest.raises(grpc.RpcError) as caught:
            await pb2_grpc.ModelServiceStub(channel).ListModels(pb2.ListModelsRequest(), timeout=5)
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "42" not in str(caught.value)


async def test_a_foreign_error_becomes_the_nearest_of_ours() -> None:
    async with open_channel("127.0.0.1:1") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await pb2_grpc.ModelServiceStub(channel).ListModels(pb2.ListModelsRequest(), timeout=5)
    assert isinstance(from_rpc_error(caught.value), errors.ModelUnavailableError)


async def test_health_says_serving_only_when_told() -> None:
    async with failing(QueueFullError("x")) as (server, channel):
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
        for name in ("", "framemesh.v1.ModelService"):
            answer = await check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        await server.set_serving(serving=True)
        answer = await check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_port_in_use_says_so() -> None:
    async with failing(QueueFullError("x")) as (server, _):
        with pytest.raises(ConfigurationError, match="in use"):
            async with serving(f"127.0.0.1:{server.port}", {}, drain_seconds=0):
                pass


async def test_a_message_over_the_limit_is_refused_by_grpc_itself() -> None:
    async with failing(QueueFullError("x")) as (_, channel):
        huge = pb2.DeployModelRequest()
        huge.spec.source = "x" * (MAX_MESSAGE_BYTES + 1)
        with pytest.raises(grpc.RpcError) as caught:
            await pb2_grpc.ModelServiceStub(channel).DeployModel(huge, timeout=5)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


class Watched(pb2_grpc.ModelServiceServicer):
    async def WatchModels(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        yield pb2.WatchModelsResponse()
        await asyncio.Event().wait()


async def test_a_watcher_does_not_hold_up_a_server_that_drains() -> None:
    service = Watched()  # type: ignore[abstract]
    add = {"framemesh.v1.ModelService": lambda server: pb2_grpc.add_ModelServiceServicer_to_server(service, server)}
    async with asyncio.timeout(20):
        async with serving("127.0.0.1:0", add, drain_seconds=60) as server:
            channel = open_channel(f"127.0.0.1:{server.port}")
            stream = pb2_grpc.ModelServiceStub(channel).WatchModels(pb2.WatchModelsRequest())
            assert await stream.read() == pb2.WatchModelsResponse()
        with pytest.raises(grpc.RpcError) as caught:
            await stream.read()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        await channel.close()
