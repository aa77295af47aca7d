"""Errors over a real gRPC connection, and health."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from framemesh import errors
from framemesh.client import AsyncClient, Client
from framemesh.errors import (
    ConfigurationError,
    FramemeshError,
    InvalidRequestError,
    ModelNotFoundError,
    OverloadedError,
    PermissionDeniedError,
    QueueFullError,
)
from framemesh.rpc.calls import EVERYBODY, Admission, Metadata
from framemesh.rpc.channels import open_channel
from framemesh.rpc.server import MAX_MESSAGE_BYTES, Connections, RpcServer, serving
from framemesh.rpc.status import CODES, from_rpc_error, to_answer_error
from framemesh.v1 import model_service_pb2 as pb2
from framemesh.v1 import model_service_pb2_grpc as pb2_grpc
from tests.faults.proxy import proxy

_PLAIN = Connections()


class Failing(pb2_grpc.ModelServiceServicer):
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise self._error

    async def WatchModels(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        yield pb2.WatchModelsResponse()
        raise self._error


class Listing(pb2_grpc.ModelServiceServicer):
    """Answers, and notes over which connections."""

    def __init__(self) -> None:
        self.peers: set[str] = set()
        self.hangs = False
        self.turn = asyncio.Semaphore(0)
        self.watch_ended = asyncio.Event()

    async def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.peers.add(context.peer())
        if self.hangs:
            await asyncio.Event().wait()
        return pb2.ListModelsResponse()

    async def WatchModels(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        try:
            while True:
                yield pb2.WatchModelsResponse()
                await self.turn.acquire()
        finally:
            self.watch_ended.set()


@asynccontextmanager
async def listing(
    connections: Connections = _PLAIN, admission: Admission = EVERYBODY
) -> AsyncIterator[tuple[Listing, int]]:
    service = Listing()  # type: ignore[abstract]
    add = {"framemesh.v1.ModelService": lambda server: pb2_grpc.add_ModelServiceServicer_to_server(service, server)}
    async with serving("127.0.0.1:0", add, drain_seconds=0, connections=connections, admission=admission) as server:
        yield service, server.port


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


@pytest.mark.parametrize(("listens", "mend"), [(False, "start it"), (True, "hangs")])
def test_who_is_not_there_or_does_not_speak_is_told_apart_with_the_mend(*, listens: bool, mend: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1] if listens else 1}"
        with Client(address) as client, pytest.raises(errors.ModelUnavailableError, match=mend):
            client.models()


async def test_a_call_whose_time_was_up_says_what_to_do() -> None:
    async with listing() as (service, port), AsyncClient(f"127.0.0.1:{port}") as client:
        await client.models(timeout=60)
        service.hangs = True
        with pytest.raises(errors.DeadlineError, match=r"within 0\.5 s: .* `framemesh doctor` finds out which"):
            await client.models(timeout=0.5)


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


LIST = "/framemesh.v1.ModelService/ListModels"


def refuse(error: FramemeshError) -> Callable[[str, Metadata], None]:
    def authorize(method: str, metadata: Metadata) -> None:
        raise error

    return authorize


def full() -> AbstractContextManager[None]:
    raise OverloadedError("full")


@pytest.mark.parametrize(
    ("admission", "refusal"),
    [
        (Admission(authorize=refuse(PermissionDeniedError("no"))), PermissionDeniedError),
        (Admission(room={LIST: full}), OverloadedError),
    ],
)
async def test_who_is_not_let_in_is_refused_before_the_request_is_read(
    admission: Admission, refusal: type[FramemeshError]
) -> None:
    async with listing(admission=admission) as (service, port), open_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_unary(LIST, pb2.ListModelsRequest.SerializeToString, pb2.ListModelsResponse.FromString)
        with pytest.raises(grpc.RpcError) as caught:
            await call(never_a_request(), timeout=10)
    assert type(from_rpc_error(caught.value)) is refusal
    assert not service.peers


async def never_a_request() -> AsyncIterator[pb2.ListModelsRequest]:
    await asyncio.Event().wait()
    yield pb2.ListModelsRequest()


async def test_a_call_without_its_request_is_the_callers_fault() -> None:
    async with listing() as (_, port), open_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_unary(LIST, pb2.ListModelsRequest.SerializeToString, pb2.ListModelsResponse.FromString)
        with pytest.raises(grpc.RpcError) as caught:
            await call(iter(()), timeout=10)
    assert type(from_rpc_error(caught.value)) is InvalidRequestError


async def test_a_request_that_does_not_come_is_not_waited_for_without_end() -> None:
    async with (
        listing(admission=Admission(request_seconds=0.2)) as (_, port),
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        call = channel.stream_unary(LIST, pb2.ListModelsRequest.SerializeToString, pb2.ListModelsResponse.FromString)
        with pytest.raises(grpc.RpcError) as caught:
            await call(never_a_request(), timeout=30)
    assert "0.2 s" in str(caught.value.details())


@pytest.mark.parametrize("method", ["ListModels", "WatchModels"])
async def test_what_is_no_message_is_the_callers_fault(method: str) -> None:
    async with listing() as (_, port), open_channel(f"127.0.0.1:{port}") as channel:
        ask: Any = channel.unary_stream(f"/framemesh.v1.ModelService/{method}")
        stream = ask(b"\xff\xff\xff", timeout=10)
        with pytest.raises(grpc.RpcError) as caught:
            await stream.read()
    assert type(from_rpc_error(caught.value)) is InvalidRequestError


async def test_a_right_taken_back_ends_the_stream_before_its_next_message() -> None:
    allowed = True

    def authorize(method: str, metadata: Metadata) -> None:
        if not allowed:
            raise PermissionDeniedError("no longer")

    async with (
        listing(admission=Admission(authorize=authorize)) as (service, port),
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        stream = pb2_grpc.ModelServiceStub(channel).WatchModels(pb2.WatchModelsRequest(), timeout=10)
        assert await stream.read() == pb2.WatchModelsResponse()
        service.turn.release()
        assert await stream.read() == pb2.WatchModelsResponse()
        allowed = False
        service.turn.release()
        with pytest.raises(grpc.RpcError) as caught:
            await stream.read()
    assert type(from_rpc_error(caught.value)) is PermissionDeniedError
    assert service.watch_ended.is_set()


async def test_connections_are_replaced_without_a_failed_call_or_a_cut_stream() -> None:
    async with (
        listing(Connections(max_age_seconds=0.2)) as (service, port),
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = pb2_grpc.ModelServiceStub(channel)
        stream = stub.WatchModels(pb2.WatchModelsRequest())
        assert await stream.read() == pb2.WatchModelsResponse()
        while len(service.peers) < 3:
            await stub.ListModels(pb2.ListModelsRequest(), timeout=10)
        service.turn.release()
        assert await stream.read() == pb2.WatchModelsResponse()
        assert not service.watch_ended.is_set()
        stream.cancel()


async def test_a_caller_that_is_gone_without_a_word_is_noticed() -> None:
    async with (
        listing(Connections(keepalive_seconds=0.2, keepalive_timeout_seconds=0.5)) as (service, port),
        proxy(port) as between,
        open_channel(f"127.0.0.1:{between.port}") as channel,
    ):
        stream = pb2_grpc.ModelServiceStub(channel).WatchModels(pb2.WatchModelsRequest())
        assert await stream.read() == pb2.WatchModelsResponse()
        between.stall()
        async with asyncio.timeout(60):
            await service.watch_ended.wait()


def test_an_error_beside_answers_says_when_to_ask_again_where_that_helps() -> None:
    error = to_answer_error(OverloadedError("full"))
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], "OVERLOADED")
    assert error.retry_delay.ToNanoseconds() == OverloadedError.retry_after_seconds * 1e9
    assert not to_answer_error(ModelNotFoundError("gone")).HasField("retry_delay")
