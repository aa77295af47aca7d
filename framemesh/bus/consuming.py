"""Pulling from a durable consumer, each message handed on as it comes.

nats-py's `fetch(n)` waits for n messages or its timeout once it has to linger, which costs up to n frames of latency;
this speaks the same pull protocol (NATS ADR-13) and yields at once.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from framemesh.bus.connection import Bus
from framemesh.errors import FramemeshError

log = structlog.get_logger()

_EXPIRES_SECONDS = 30.0
_HEARTBEAT_SECONDS = 2.0
_PAUSE_SECONDS = 0.1  # before asking one again who can't answer
_CLOSE_SECONDS = 2.0
_NANOSECONDS = 1_000_000_000
_COMPLETED = "Batch Completed"
"""Said after the last message of a request, when the next one is open already: taken for the end of that, each full
batch would leave one more request open, and more would come than there is room for."""


class ConsumerGoneError(FramemeshError):
    """The durable consumer was deleted."""

    reason = "CONSUMER_GONE"


async def consume(
    bus: Bus, stream: str, consumer: str, *, batch: int, max_bytes: int, room: Callable[[], Awaitable[None]]
) -> AsyncGenerator[Msg, None]:
    """Yield the consumer's messages as they come, across server restarts, until the caller stops iterating.

    Take each at once: what waits here unseen is not kept alive and may be delivered again. What was not taken in the
    end goes back at once.

    Args:
        bus: The connection.
        stream: The stream's name.
        consumer: The durable pull consumer's name.
        batch: Messages asked for at once, so that the caller may come to hold so many more than it has room for.
        max_bytes: Bytes asked for at once; must be over the largest message.
        room: Waits until the caller has room for more.

    Raises:
        ConsumerGoneError: The consumer was deleted.
    """
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
    request = json.dumps(
        {
            "batch": batch,
            "max_bytes": max_bytes,
            "expires": int(_EXPIRES_SECONDS * _NANOSECONDS),
            "idle_heartbeat": int(_HEARTBEAT_SECONDS * _NANOSECONDS),
        }
    ).encode()
    inbox = _Inbox(bus)
    await inbox.open()
    try:
        while not bus.closed.is_set():
            await room()
            if not bus.client.is_connected:  # requests sent now would all be answered at once later
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            received = 0
            try:
                await bus.client.publish(subject, request, reply=inbox.subject)
                while received < batch:
                    message = await inbox.next()
                    if message.reply:  # a stream's message has somewhere to acknowledge to, a status has not
                        received += 1
                        yield message
                        continue
                    headers = message.headers or {}
                    status, words = headers.get("Status"), headers.get("Description", "")
                    if status == "409" and "Deleted" in words:
                        raise ConsumerGoneError(f"consumer {consumer!r} of stream {stream!r} was deleted")
                    if status == "100" or words == _COMPLETED:
                        continue
                    if status != "408" and not received:  # refused: asking again at once would keep both ends busy
                        await _check_consumer(bus, stream, consumer)
                        await asyncio.sleep(_PAUSE_SECONDS)
                    break  # the request has ended: expired, satisfied by bytes, or nobody leads yet
            except (nats.errors.Error, TimeoutError) as error:
                log.debug("nats.pull_again", stream=stream, consumer=consumer, error=str(error))
                # Silence beyond the heartbeat: ask again, elsewhere. A server that only hung answers every request
                # later, and all of them together are more than there is room for; what goes to a closed inbox comes
                # again after ack_wait.
                with suppress(nats.errors.Error):  # not connected now: after the next silence
                    await inbox.move()
    finally:
        await inbox.close()


async def _check_consumer(bus: Bus, stream: str, consumer: str) -> None:
    """Pass unless the consumer is gone: one that is deleted between two requests has nobody to tell us."""
    try:
        await bus.js.consumer_info(stream, consumer)
    except NotFoundError:
        raise ConsumerGoneError(f"stream {stream!r} has no consumer {consumer!r}") from None


class _Inbox:
    """Where a consumer's messages arrive.

    nats-py's own `next_msg` makes two tasks and a UUID for each message, and whoever is cancelled in it may lose one.
    """

    def __init__(self, bus: Bus) -> None:
        self._client = bus.client
        self._messages: deque[Msg] = deque()
        self._arrived = asyncio.Event()

    async def open(self) -> None:
        self.subject = self._client.new_inbox()
        # No limit of its own: the request bounds what comes, and a message dropped here would wait for ack_wait.
        self._subscription = await self._client.subscribe(
            self.subject, cb=self._take, pending_msgs_limit=-1, pending_bytes_limit=-1
        )

    async def move(self) -> None:
        """Listen elsewhere from now on."""
        await self._subscription.unsubscribe()
        await self.open()

    async def next(self) -> Msg:
        """The next message or status.

        Raises:
            TimeoutError: Not even a heartbeat came.
        """
        if not self._messages:
            self._arrived.clear()
            async with asyncio.timeout(2 * _HEARTBEAT_SECONDS):
                await self._arrived.wait()
        return self._messages.popleft()

    async def close(self) -> None:
        """Take no more, and give back what came unseen, so that whoever comes next need not wait for `ack_wait`."""
        if not self._client.is_closed:
            await asyncio.shield(asyncio.create_task(self._close()))  # whoever is cancelled twice still gives back

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                # Unsubscribes, then waits for all that the server had sent by then.
                await self._subscription.drain()  # type: ignore[no-untyped-call]
                for message in self._messages:
                    if message.reply:
                        await message.nak()
        except (nats.errors.Error, TimeoutError) as error:
            log.debug("nats.inbox_cut", error=str(error) or type(error).__name__)
            # What a drain that was cut leaves behind would be subscribed to again after a reconnection.
            self._client._remove_sub(self._subscription._id)  # noqa: SLF001

    async def _take(self, message: Msg) -> None:
        self._messages.append(message)
        self._arrived.set()
