"""What happens to every call of our own services between gRPC and the service's method."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog

from framemesh.errors import FramemeshError, InternalError, InvalidRequestError, ModelUnavailableError
from framemesh.rpc.status import to_status

log = structlog.get_logger()

_QUIET_SECONDS = 0.5
_LONGEST_WAIT_FOR_QUIET_SECONDS = 2.0  # for callers that go on asking

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
    """

    authorize: Authorize = _anybody
    room: Mapping[str, Callable[[], AbstractContextManager[None]]] = field(default_factory=dict)


EVERYBODY = Admission()
"""Lets every call in."""


class Calls:
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


_STOPPING = ModelUnavailableError("the server is draining: ask another, or this one again in a moment")


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
                with self._entered(context):
                    return await answer(await _only_request(context), context)
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
                async with aclosing(answer(await _only_request(context), context)) as responses:
                    stream = _UntilDraining(responses, self.calls.draining)
                    async with aclosing(stream.items()) as items:
                        async for response in items:
                            self._authorize(context)
                            yield response
                ending = _STOPPING if stream.cut else None
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
                    stream = _UntilDraining(aiter(requests), self.calls.draining)
                    async with aclosing(self._authorized(stream, context)) as items:
                        await answer(items, context)
                ending = _STOPPING if stream.cut else None
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

    def _authorize(self, context: Context) -> None:
        self.admission.authorize(self.method, tuple(context.invocation_metadata() or ()))

    async def _authorized(self, stream: "_UntilDraining", context: Context) -> AsyncGenerator[Any, None]:
        async with aclosing(stream.items()) as items:
            async for request in items:
                self._authorize(context)
                yield request

    async def _abort(self, context: Context, error: Exception) -> None:
        if not isinstance(error, FramemeshError):
            log.error("rpc.fault", method=self.method, exc_info=error)
            error = InternalError("the service failed on this call; its log says why")
        status = to_status(error)
        await context.abort(status.code, status.details, status.trailing_metadata)


async def _only_request(context: Context) -> Any:
    request = await context.read()
    if request is grpc.aio.EOF:
        raise InvalidRequestError("the call ended before its request came")
    return request


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
