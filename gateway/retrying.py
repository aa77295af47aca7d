"""Dead letters read again: listed, shown, and retried."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from nats.js.errors import APIError

from framemesh.bus import Bus, streams
from framemesh.bus.connection import reporting
from framemesh.bus.reading import between
from framemesh.bus.states import stream_state
from framemesh.errors import DeadLetterNotFoundError, FramemeshError, InvalidRequestError
from framemesh.frames import CAPTURED_AT, FRAME_ID, MESSAGE_ID, SEQUENCE, SUBJECT_PREFIX, FrameId
from framemesh.lake import Lake
from framemesh.names import check_label
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.dead_letter_service_pb2 import DeadLetterFilter, KeptDeadLetter
from framemesh.v1.inference_service_pb2 import Priority
from framemesh.v1.result_pb2 import DeadLetter
from gateway import results
from gateway.asking import Asker
from gateway.deadletters import UNREADABLE, summary
from gateway.registry import Registry

_PART = 1000
_ASK_SECONDS = 10.0
_ACK_SECONDS = 5.0
_NO_MESSAGE = 10037  # JSNoMessageFoundErr

Try = tuple[int, FramemeshError | None]
"""A dead letter's number, and why its retry was not accepted."""


@dataclass(frozen=True, slots=True)
class Retrier:
    """Reads the stream `DEADLETTERS`, and tries again what its messages are about."""

    bus: Bus
    lake: Lake
    registry: Registry
    asker: Asker
    results: results.Results

    async def newest(self, wanted: DeadLetterFilter, limit: int) -> list[KeptDeadLetter]:
        """Dead letters without their bodies, the newest first, at most `limit`.

        Raises:
            BusUnavailableError: NATS can't be read now.
        """
        first, last = await self._bounds()
        found: list[KeptDeadLetter] = []
        while last >= first and len(found) < limit:  # from the end, part by part: there may be a million
            begin = max(first, last - _PART + 1)
            async with aclosing(self._between(begin, last)) as letters:
                part = [letter async for letter in letters if _matches(letter, wanted)]
            found += reversed(part)
            last = begin - 1
        return found[:limit]

    async def get(self, number: int) -> KeptDeadLetter:
        """A dead letter with its body.

        Raises:
            DeadLetterNotFoundError: There is none of that number.
            BusUnavailableError: NATS can't be read now.
        """
        if number > 0:
            async with aclosing(self._between(number, number, headers_only=False)) as letters:
                async for letter in letters:
                    return letter
        raise DeadLetterNotFoundError(
            f"no dead letter {number}: it was retried, or is gone; `framemesh deadletters list` shows those there are",
            number=number,
        )

    async def retry_all(self, wanted: DeadLetterFilter) -> AsyncGenerator[Try, None]:
        """Retry those that are there now, the oldest first.

        Raises:
            BusUnavailableError: NATS can't be read now.
        """
        first, last = await self._bounds()
        while first <= last:
            end = min(last, first + _PART - 1)
            async with aclosing(self._between(first, end)) as letters:
                numbers = [letter.number async for letter in letters if _matches(letter, wanted)]
            for number in numbers:
                try:
                    yield await self._try(number)
                except DeadLetterNotFoundError:
                    continue  # somebody else's retry was quicker
            first = end + 1

    async def retry_one(self, number: int) -> AsyncGenerator[Try, None]:
        """Retry the one of that number.

        Raises:
            DeadLetterNotFoundError: There is none.
            BusUnavailableError: NATS can't be read now.
        """
        yield await self._try(number)

    async def _try(self, number: int) -> Try:
        """Try again what a dead letter is about; accepted, it goes."""
        letter = (await self.get(number)).dead_letter
        try:
            if letter.reason == UNREADABLE:
                raise InvalidRequestError(f"dead letter {number} can't be retried: {letter.message}", field="number")
            await (self._ask_again(letter, number) if letter.model else self._publish_again(letter, number))
            await self._delete(number)
        except FramemeshError as error:
            return number, error
        return number, None

    async def _delete(self, number: int) -> None:
        with reporting("it was retried, but not deleted"):
            try:
                await self.bus.js.delete_msg(streams.DEADLETTERS, number)
            except APIError as error:
                if error.err_code != _NO_MESSAGE:  # else somebody else's retry was quicker
                    raise

    async def _publish_again(self, letter: DeadLetter, number: int) -> None:
        """Publish a refused message's body to its subject. Its message id is new: NATS knows the old one still."""
        camera = check_label("camera", letter.subject.removeprefix(SUBJECT_PREFIX))  # else no try can help
        frame_id = FrameId.parse(letter.frame.frame_id)
        headers = {MESSAGE_ID: f"{letter.frame.frame_id}/retry/{number}"}
        if frame_id is not None and frame_id.camera == camera:
            headers |= {FRAME_ID: str(frame_id), CAPTURED_AT: letter.frame.capture_time.ToJsonString()}
        if letter.frame.HasField("camera_sequence"):
            headers[SEQUENCE] = str(letter.frame.camera_sequence)
        await self.bus.publish(SUBJECT_PREFIX + camera, letter.body, headers, timeout=_ACK_SECONDS)

    async def _ask_again(self, letter: DeadLetter, number: int) -> None:
        """Ask a model about its frame again, and publish the result beside the failed one, as newer."""
        spec = self.registry.spec(letter.model)
        body, _ = await self.lake.get(letter.frame.object_key)
        started = time.monotonic()
        response = await self.asker.ask(
            letter.model,
            body,
            AnswerOptions(),
            priority=Priority.PRIORITY_BACKGROUND,
            timeout=_ASK_SECONDS,
            retry_lost=False,
        )
        await self.results.write(
            letter.frame,
            results.succeeded(letter.model, response),
            latency_seconds=time.monotonic() - started,
            skipped=letter.skipped_frame_count,
            shadow=spec.shadow,
            retried_dead_letter=number,
        )

    async def _bounds(self) -> tuple[int, int]:
        stream = await stream_state(self.bus, streams.DEADLETTERS)
        return max(1, stream.first), stream.last

    async def _between(
        self, first: int, last: int, *, headers_only: bool = True
    ) -> AsyncGenerator[KeptDeadLetter, None]:
        async with aclosing(between(self.bus, streams.DEADLETTERS, first, last, headers_only=headers_only)) as messages:
            async for message in messages:
                kept = summary(message)
                if not headers_only:
                    kept.dead_letter.body = _body(kept, message.data)
                yield kept


def _body(kept: KeptDeadLetter, message: bytes) -> bytes:
    """The body that a dead letter carries; the whole message where it is none."""
    return message if kept.dead_letter.reason == UNREADABLE else DeadLetter.FromString(message).body


def _matches(kept: KeptDeadLetter, wanted: DeadLetterFilter) -> bool:
    letter = kept.dead_letter
    return all(
        not asked or asked == found
        for asked, found in (
            (wanted.camera, letter.frame.camera or letter.subject.partition(".")[2]),
            (wanted.model, letter.model),
            (wanted.reason, letter.reason),
        )
    )
