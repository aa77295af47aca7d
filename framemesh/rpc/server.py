"""A gRPC server with health, reflection and one way to report errors."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from framemesh.errors import ConfigurationError, FramemeshError, InternalError, ModelUnavailableError
from framemesh.limits import MAX_IMAGE_BYTES
from framemesh.rpc.status import to_status

log = structlog.get_logger()

MAX_MESSAGE_BYTES = 2 * MAX_IMAGE_BYTES
"""Over this gRPC itself refuses, before any of it is held; up to this we say what is wrong with the image."""

_QUIET_SECONDS = 0.5
_LONGEST_WAIT_FOR_QUIET_SECONDS = 2.0  # for callers that go on asking

Register = Callable[[grpc.aio.Server], None]


@dataclass(frozen=True, slots=True)
class RpcServer:
    """A server that listens. Health says NOT_SERVING until `set_serving`."""

    port: int
    _health: health.aio.HealthServicer
    _names: tuple[str, ...]

    async def set_serving(self, *, serving: bool) -> None:
        """Tell every health checker and watcher, for the whole server, each service and each model."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *self._names):
            await self._health.set(name, status)


@asynccontextmanager
async def serving(
    address: str, services: dict[str, Register], *, drain_seconds: float, models: Sequence[str] = ()
) -> AsyncIterator[RpcServer]:
    """Serve around the block. On leaving: health turns NOT_SERVING, new calls are refused, those under way finish.

    Args:
        address: `host:port`; port 0 lets the system choose.
        services: Full names of the services, each with what adds it to the server.
        drain_seconds: How long calls under way may take before they are cut.
        models: Names under which health is told too.

    Raises:
        ConfigurationError: The address can't be listened on.
    """
    calls = _Calls()
    server = grpc.aio.server(
        interceptors=[_Interceptor(calls)],
        options=[
            ("grpc.so_reuseport", 0),  # else two servers share one port, and neither says so
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # else our clients' keepalive counts as abuse
        ],
    )
    for register in services.values():
        register(server)
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise ConfigurationError(
            f"can't serve gRPC on {address!r}: it is in use or not this machine's; choose a free host:port",
            address=address,
        ) from error
    started = RpcServer(port, servicer, (*services, *models))
    await started.set_serving(serving=False)
    await server.start()
    try:
        yield started
    finally:
        await servicer.enter_graceful_shutdown()
        calls.draining.set()
        await calls.settled(drain_seconds)
        await server.stop(None)


class _Calls:
    """The calls of our own services: how many are under way, and whether new ones are taken."""

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        self._under_way = 0
        self._newest = 0.0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Count the call that the block answers.

        Raises:
            ModelUnavailableError: The server drains.
        """
        self._newest = time.monotonic()
        if self.draining.is_set():
            raise _STOPPING
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def settled(self, drain_seconds: float) -> None:
        """Wait until no call is under way and none comes in any more, or the time is up.

        Calls that have reached this machine already wait in gRPC's own queue. `Server.stop` would leave them there
        until it cuts them, so they are taken up first, to be refused with a status that says what to do.
        """
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < drain_seconds:
            quiet = time.monotonic() - max(self._newest, started)
            if not self._under_way and (quiet >= _QUIET_SECONDS or elapsed >= _LONGEST_WAIT_FOR_QUIET_SECONDS):
                return
            await asyncio.sleep(_QUIET_SECONDS / 10)


class _Interceptor(grpc.aio.ServerInterceptor):
    """Our errors become their status; any other is logged whole and told to the caller only as INTERNAL.

    Streams to callers end as UNAVAILABLE when the server drains: those that watch would hold it up for ever.
    """

    def __init__(self, calls: _Calls) -> None:
        self._calls = calls
        self._handlers: dict[str, Any] = {}  # by method; only those that are served get in

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        method = str(handler_call_details.method)
        if method not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None or method.startswith("/grpc."):  # gRPC's own: health and reflection
                return handler
            self._handlers[method] = self._handler(handler, method)
        return self._handlers[method]

    def _handler(self, handler: Any, method: str) -> Any:
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                _guarded(handler.unary_unary, method, self._calls),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                _guarded_exchange(handler.stream_stream, method, self._calls),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.unary_stream_rpc_method_handler(
            _guarded_stream(handler.unary_stream, method, self._calls),
            handler.request_deserializer,
            handler.response_serializer,
        )


_STOPPING = ModelUnavailableError("the server is draining: ask another, or this one again in a moment")


def _guarded(call: Callable[..., Awaitable[Any]], method: str, calls: _Calls) -> Callable[..., Awaitable[Any]]:
    async def guarded(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            with calls.taken():
                return await call(request, context)
        except Exception as error:  # noqa: BLE001 - the boundary: nothing may pass as a bare traceback
            await _abort(context, error, method)

    return guarded


def _guarded_stream(
    call: Callable[..., AsyncGenerator[Any, None]], method: str, calls: _Calls
) -> Callable[..., AsyncIterator[Any]]:
    async def guarded(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        ending: Exception | None
        try:
            async with aclosing(call(request, context)) as responses:
                stream = _UntilDraining(responses, calls.draining)
                async with aclosing(stream.items()) as items:
                    async for response in items:
                        yield response
            ending = _STOPPING if stream.cut else None
        except Exception as error:  # noqa: BLE001 - as above
            ending = error
        if ending is not None:
            await _abort(context, ending, method)

    return guarded


def _guarded_exchange(
    call: Callable[..., Awaitable[None]], method: str, calls: _Calls
) -> Callable[..., Awaitable[None]]:
    """A call with a stream each way. When the server drains, its requests end, and those that came are answered."""

    async def guarded(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> None:
        ending: Exception | None
        try:
            with calls.taken():
                stream = _UntilDraining(aiter(requests), calls.draining)
                async with aclosing(stream.items()) as items:
                    await call(items, context)
            ending = _STOPPING if stream.cut else None
        except Exception as error:  # noqa: BLE001 - as above
            ending = error
        if ending is not None:
            await _abort(context, ending, method)

    return guarded


class _UntilDraining:
    """What comes of a stream until the server drains; `cut` says whether that ended it."""

    def __init__(self, stream: AsyncIterator[Any], draining: asyncio.Event) -> None:
        self._stream = stream
        self._draining = draining
        self.cut = False

    async def items(self) -> AsyncGenerator[Any, None]:
        drained = asyncio.create_task(self._draining.wait())
        try:
            while not self.cut:
                coming = asyncio.ensure_future(anext(self._stream))
                try:
                    await asyncio.wait((coming, drained), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not coming.done():
                        coming.cancel()
                        await asyncio.wait((coming,))
                if coming.cancelled():
                    self.cut = True
                else:
                    yield coming.result()
        except StopAsyncIteration:
            pass
        finally:
            drained.cancel()


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception, method: str) -> None:
    if not isinstance(error, FramemeshError):
        log.error("rpc.fault", method=method, exc_info=error)
        error = InternalError("the service failed on this call; its log says why")
    status = to_status(error)
    await context.abort(status.code, status.details, status.trailing_metadata)
