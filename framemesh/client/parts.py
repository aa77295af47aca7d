"""What every part of a client stands on: a channel, and errors as ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc

from framemesh.rpc.status import from_rpc_error

REGISTRY_SECONDS = 5.0

Request = TypeVar("Request")
Response = TypeVar("Response")


@contextmanager
def reporting_errors(*, timeout: float | None = None) -> Iterator[None]:
    """Raise the matching `FramemeshError` where gRPC reports an error of a call, which had so many seconds."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error, timeout=timeout) from error


class AsyncPart:
    """One of the gateway's services, for asyncio."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    @staticmethod
    async def _ask(
        method: "grpc.aio.UnaryUnaryMultiCallable[Request, Response]", request: Request, timeout: float
    ) -> Response:
        with reporting_errors(timeout=timeout):
            return await method(request, timeout=timeout)


class Part:
    """One of the gateway's services, for threads."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    @staticmethod
    def _ask(method: "grpc.UnaryUnaryMultiCallable[Request, Response]", request: Request, timeout: float) -> Response:
        with reporting_errors(timeout=timeout):
            return method(request, timeout=timeout)
