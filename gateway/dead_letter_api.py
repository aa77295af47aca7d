"""The gRPC service for dead letters: unpack the request, call, pack the answer."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from framemesh.errors import InvalidRequestError
from framemesh.rpc.status import to_answer_error
from framemesh.v1 import dead_letter_service_pb2 as pb2
from framemesh.v1.dead_letter_service_pb2_grpc import DeadLetterServiceServicer
from gateway.listing import limit_of
from gateway.retrying import Retrier

Context = grpc.aio.ServicerContext[Any, Any]


class DeadLetterApi(DeadLetterServiceServicer):
    """`framemesh.v1.DeadLetterService`."""

    def __init__(self, retrier: Retrier) -> None:
        self._retrier = retrier

    async def ListDeadLetters(
        self, request: pb2.ListDeadLettersRequest, context: Context
    ) -> pb2.ListDeadLettersResponse:
        """See `dead_letter_service.proto`."""
        found = await self._retrier.newest(request.filter, limit_of(request.limit))
        return pb2.ListDeadLettersResponse(dead_letters=found)

    async def GetDeadLetter(self, request: pb2.GetDeadLetterRequest, context: Context) -> pb2.GetDeadLetterResponse:
        """See `dead_letter_service.proto`."""
        return pb2.GetDeadLetterResponse(dead_letter=await self._retrier.get(request.number))

    async def RetryDeadLetters(
        self, request: pb2.RetryDeadLettersRequest, context: Context
    ) -> AsyncIterator[pb2.RetryDeadLettersResponse]:
        """See `dead_letter_service.proto`."""
        match request.WhichOneof("which"):
            case "number":
                tries = self._retrier.retry_one(request.number)
            case "filter":
                tries = self._retrier.retry_all(request.filter)
            case _:
                raise InvalidRequestError("the request names no dead letters: set number or filter", field="which")
        async with aclosing(tries):
            async for number, error in tries:
                yield pb2.RetryDeadLettersResponse(
                    number=number, error=None if error is None else to_answer_error(error)
                )
