"""A gRPC server with health, reflection and one way to report errors."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
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

Register = Callable[[grpc.aio.Server], None]


@dataclass(frozen=True, slots=True)
class RpcServer:
    """A server that listens. Health says NOT_SERVING until `set_serving`."""

    port: int
    _health: health.aio.HealthServicer
    _names: tuple[str, ...]

    async def set_serving(self, *, serving: bool) -> None:
        """Tell every health checker and watcher, for the whole server and for each service."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *self._names):
            await self._health.set(name, status)


@asynccontextmanager
async def serving(address: str, services: dict[str, Register], *, drain_seconds: float) -> AsyncIterator[RpcServer]:
    """Serve around the block. On leaving: health turns NOT_SERVING, no new calls, those under way finish.

    Args:
        address: `host:port`; port 0 lets the system choose.
        services: Full names of the services, each with what adds it to the server.
        drain_seconds: How long calls under way may take before they are cut.

    Raises:
        ConfigurationError: The address can't be listened on.
    """
    draining = asyncio.Event()
    server = grpc.aio.server(
        interceptors=[_Interceptor(draining)],
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
    started = RpcServer(port, servicer, tuple(services))
    await started.set_serving(serving=False)
    await server.start()
    try:
        yield started
    finally:
        await servicer.enter_graceful_shutdown()
        draining.set()
        await server.stop(drain_seconds)


class _Interceptor(grpc.aio.ServerInterceptor):
    """Our errors become their status; any other is logged whole and told to the caller only as INTERNAL.

    Streams to callers end as UNAVAILABLE when the server drains: those that watch would hold it up for ever.
    """

    def __init__(self, draining: asyncio.Event) -> None:
        self._draining = draining

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or not method.startswith("/framemesh."):
            return handler
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                _guarded(handler.unary_unary, method), handler.request_deserializer, handler.response_serializer
            )
        return grpc.unary_stream_rpc_method_handler(
            _guarded_stream(handler.unary_stream, method, self._draining),
            handler.request_deserializer,
            handler.response_serializer,
        )


_STOPPING = ModelUnavailableError("the server is stopping; watch again in a moment")


def _guarded(call: Callable[..., Awaitable[Any]], method: str) -> Callable[..., Awaitable[Any]]:
    async def guarded(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await call(request, context)
        except Exception as error:  # noqa: BLE001 - the boundary: nothing may pass as a bare traceback
            await _abort(context, error, method)

    return guarded


def _guarded_stream(
    call: Callable[..., AsyncGenerator[Any, None]], method: str, draining: asyncio.Event
) -> Callable[..., AsyncIterator[Any]]:
    async def guarded(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        drained = asyncio.create_task(draining.wait())
        ending: Exception | None = None
        try:
            async with aclosing(call(request, context)) as responses:
                while True:
                    coming = asyncio.ensure_future(anext(responses))
                    try:
                        await asyncio.wait((coming, drained), return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        if not coming.done():
                            coming.cancel()
                            await asyncio.wait((coming,))
                    if coming.cancelled():
                        ending = _STOPPING
                        break
                    yield coming.result()
        except StopAsyncIteration:
            pass
        except Exception as error:  # noqa: BLE001 - as above
            ending = error
        finally:
            drained.cancel()
        if ending is not None:
            await _abort(context, ending, method)

    return guarded


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception, method: str) -> None:
    if not isinstance(error, FramemeshError):
        log.error("rpc.fault", method=method, exc_info=error)
        error = InternalError("the service failed on this call; its log says why")
    status = to_status(error)
    await context.abort(status.code, status.details, status.trailing_metadata)
