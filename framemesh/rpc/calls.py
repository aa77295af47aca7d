"""What happens to every call of our own services between gRPC and the service's method."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError

from framemesh.errors import DeadlineError, FramemeshError, InternalError, InvalidRequestError
from framemesh.rpc.draining import Calls, UntilDraining, stopping
from framemesh.rpc.status import to_status
from framemesh.telemetry import tracing

log = structlog.get_logger()

Context = grpc.aio.ServicerContext[Any, Any]
Metadata = tuple[tuple[str, str | bytes], ...]
Authorize = Callable[[str, Metadata], None]


def _anybody(method: str, metadata: Metadata) -> None:
    """Let every call in."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Which calls are let in, before anything of their requests is read.

    Attributes:
        authorize: Passes a call by its method, as `/package.Service/Method`, and its metadata, or raises what it is
            refused with. Asked again for each message of a stream, so that a right taken back ends streams too.
        room: By method, what is entered around the whole call; it raises where there is no room for one more.
        request_seconds: How long a call's one request may take to come: what waits for it takes up room.
    """

    authorize: Authorize = _anybody
    room: Mapping[str, Callable[[], AbstractContextManager[None]]] = field(default_factory=dict)
    request_seconds: float = 60.0


EVERYBODY = Admission()
"""Lets every call in."""


class Interceptor(grpc.aio.ServerInterceptor):
    """Our errors become their status; any other is logged whole and told to the caller only as INTERNAL.

    Streams to callers end as UNAVAILABLE when the server drains: those that watch would hold it up for ever.
    gRPC's own services, health and reflection, stay as they are, and open to everybody.
    """

    def __init__(self, calls: Calls, admission: Admission) -> None:
        self._calls = calls
        self._admission = admission
        self._handlers: dict[str, Any] = {}  # by method; only those that are served get in

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """See `grpc.aio.ServerInterceptor`."""
        method = str(handler_call_details.method)
        if method not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None or method.startswith("/grpc."):
                return handler
            self._handlers[method] = self._handler(handler, _Guard(method, self._calls, self._admission))
        return self._handlers[method]

    def _handler(self, handler: Any, guard: "_Guard") -> Any:
        """The same method as one that reads its requests by itself: on the wire there is no difference."""
        if handler.unary_unary is not None:
            return grpc.stream_unary_rpc_method_handler(
                guard.call(handler.unary_unary), handler.request_deserializer, handler.response_serializer
            )
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                guard.exchange(handler.stream_stream), handler.request_deserializer, handler.response_serializer
            )
        return grpc.stream_stream_rpc_method_handler(
            guard.stream(handler.unary_stream), handler.request_deserializer, handler.response_serializer
        )


@dataclass(frozen=True, slots=True)
class _Guard:
    """What stands around one method."""

    method: str
    calls: Calls
    admission: Admission

    def call(self, answer: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
        """A call with one request and one response."""

        async def guarded(_: object, context: Context) -> Any:
            try:
                with self._entered(context), self._traced(context):
                    return await answer(await self._only_request(context), context)
            except Exception as error:  # noqa: BLE001 - the boundary: nothing may pass as a bare traceback
                await self._abort(context, error)

        return guarded

    def stream(
        self, answer: Callable[[Any, Context], AsyncGenerator[Any, None]]
    ) -> Callable[[Any, Context], AsyncIterator[Any]]:
        """A call with one request and a stream of responses."""

        async def guarded(_: object, context: Context) -> AsyncIterator[Any]:
            ending: Exception | None
            try:
                self._authorize(context)
                async with aclosing(answer(await self._only_request(context), context)) as responses:
                    stream = UntilDraining(responses, self.calls.draining)
                    async with aclosing(stream.items()) as items:
                        async for response in items:
                            self._authorize(context)
                            yield response
                ending = stopping() if stream.cut else None
            except Exception as error:  # noqa: BLE001 - as above
                ending = error
            if ending is not None:
                await self._abort(context, ending)

        return guarded

    def exchange(
        self, answer: Callable[[AsyncIterator[Any], Context], Awaitable[None]]
    ) -> Callable[[AsyncIterator[Any], Context], Awaitable[None]]:
        """A call with a stream each way. When the server drains, its requests end, and those that came are answered."""

        async def guarded(requests: AsyncIterator[Any], context: Context) -> None:
            ending: Exception | None
            try:
                with self._entered(context):
                    stream = UntilDraining(aiter(requests), self.calls.draining)
                    async with aclosing(self._authorized(stream, context)) as items:
                        await answer(items, context)
                ending = stopping() if stream.cut else None
            except Exception as error:  # noqa: BLE001 - as above
                ending = error
            if ending is not None:
                await self._abort(context, ending)

        return guarded

    @contextmanager
    def _entered(self, context: Context) -> Iterator[None]:
        with self.calls.taken():
            self._authorize(context)
            with self.admission.room.get(self.method, nullcontext)():
                yield

    def _traced(self, context: Context) -> AbstractContextManager[object]:
        return tracing.span(self.method[1:], kind="SERVER", parent=context.invocation_metadata() or ())

    def _authorize(self, context: Context) -> None:
        self.admission.authorize(self.method, tuple(context.invocation_metadata() or ()))

    async def _authorized(self, stream: UntilDraining, context: Context) -> AsyncGenerator[Any, None]:
        async with aclosing(stream.items()) as items:
            with _reading():
                async for request in items:
                    self._authorize(context)
                    yield request

    async def _only_request(self, context: Context) -> Any:
        try:
            async with asyncio.timeout(self.admission.request_seconds):
                with _reading():
                    request = await context.read()
        except TimeoutError:
            raise DeadlineError(
                f"the request did not come within {self.admission.request_seconds:g} s: send a smaller one"
            ) from None
        if request is grpc.aio.EOF:
            raise InvalidRequestError("the call ended before its request came")
        return request

    async def _abort(self, context: Context, error: Exception) -> None:
        if not isinstance(error, FramemeshError):
            log.error("rpc.fault", method=self.method, exc_info=error)
            error = InternalError("the service failed on this call; its log says why")
        status = to_status(error)
        await context.abort(status.code, status.details, status.trailing_metadata)


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except DecodeError:
        raise InvalidRequestError("this is no request of the method: is the client made of our protos?") from None
