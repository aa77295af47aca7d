"""What could not be processed."""

from collections.abc import AsyncIterator, Iterator

import grpc

from framemesh.client.parts import AsyncPart, Part, reporting_errors
from framemesh.v1.dead_letter_service_pb2 import (
    DeadLetterFilter,
    GetDeadLetterRequest,
    KeptDeadLetter,
    ListDeadLettersRequest,
    RetryDeadLettersRequest,
    RetryDeadLettersResponse,
)
from framemesh.v1.dead_letter_service_pb2_grpc import DeadLetterServiceStub

DEAD_LETTER_SECONDS = 30.0


class AsyncDeadLetters(AsyncPart):
    """`DeadLetterService`, for asyncio."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._dead_letters = DeadLetterServiceStub(channel)

    async def dead_letters(
        self, wanted: DeadLetterFilter | None = None, *, limit: int = 0, timeout: float = DEAD_LETTER_SECONDS
    ) -> list[KeptDeadLetter]:
        """What could not be processed, without the bodies, the newest first; a `limit` of 0 means 100."""
        request = ListDeadLettersRequest(filter=wanted, limit=limit)
        return list((await self._ask(self._dead_letters.ListDeadLetters, request, timeout)).dead_letters)

    async def dead_letter(self, number: int, *, timeout: float = DEAD_LETTER_SECONDS) -> KeptDeadLetter:
        """One dead letter with its body."""
        request = GetDeadLetterRequest(number=number)
        return (await self._ask(self._dead_letters.GetDeadLetter, request, timeout)).dead_letter

    async def retry_dead_letters(self, which: int | DeadLetterFilter) -> AsyncIterator[RetryDeadLettersResponse]:
        """Try again what one dead letter is about, by its number, or many; yields how each try ended."""
        with reporting_errors():
            async for response in self._dead_letters.RetryDeadLetters(_retry_request(which)):
                yield response


class DeadLetters(Part):
    """`DeadLetterService`, for threads."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._dead_letters = DeadLetterServiceStub(channel)

    def dead_letters(
        self, wanted: DeadLetterFilter | None = None, *, limit: int = 0, timeout: float = DEAD_LETTER_SECONDS
    ) -> list[KeptDeadLetter]:
        """See `AsyncClient.dead_letters`."""
        request = ListDeadLettersRequest(filter=wanted, limit=limit)
        return list(self._ask(self._dead_letters.ListDeadLetters, request, timeout).dead_letters)

    def dead_letter(self, number: int, *, timeout: float = DEAD_LETTER_SECONDS) -> KeptDeadLetter:
        """See `AsyncClient.dead_letter`."""
        return self._ask(self._dead_letters.GetDeadLetter, GetDeadLetterRequest(number=number), timeout).dead_letter

    def retry_dead_letters(self, which: int | DeadLetterFilter) -> Iterator[RetryDeadLettersResponse]:
        """See `AsyncClient.retry_dead_letters`."""
        with reporting_errors():
            yield from self._dead_letters.RetryDeadLetters(_retry_request(which))


def _retry_request(which: int | DeadLetterFilter) -> RetryDeadLettersRequest:
    if isinstance(which, int):
        return RetryDeadLettersRequest(number=which)
    return RetryDeadLettersRequest(filter=which)
