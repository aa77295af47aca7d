"""Pulling from a durable consumer, each message handed on as it comes.

nats-py's `fetch(n)` waits for n messages or its timeout once it has to linger, which costs up to n frames of latency;
this speaks the same pull protocol (NATS ADR-13) and yields at once.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from framemesh.bus.connection import Bus
from framemesh.errors import FramemeshError

log = structlog.get_logger()

_EXPIRES_SECONDS = 30.0
_HEARTBEAT_SECONDS = 2.0
_RECONNECT_SECONDS = 0.1
_NANOSECONDS = 1_000_000_000


class ConsumerGoneError(FramemeshError):
    """The durable consumer was deleted."""

    reason = "CONSUMER_GONE"


async def consume(
    bus: Bus, stream: str, consumer: str, *, batch: int, max_bytes: int, room: Callable[[], Awaitable[None]]
) -> AsyncGenerator[Msg, None]:
    """Yield the consumer's messages as they come, across server restarts, until the caller stops iterating.

    Take each at once: what waits here unseen is not kept alive and may be delivered again.

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
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await _inbox(bus, arrived)
    try:
        while not bus.closed.is_set():
            await room()
            if not bus.client.is_connected:  # requests sent now would all be answered at once later
                await asyncio.sleep(_RECONNECT_SECONDS)
                continue
            received = 0
            try:
                await bus.client.publish(subject, request, reply=subscription.subject)
                while received < batch:
                    message = await _next(arrived)
                    if message.reply:  # a stream's message has somewhere to acknowledge to, a status has not
                        received += 1
                        yield message
                        continue
                    headers = message.headers or {}
                    status = headers.get("Status")
                    if status == "409" and "Deleted" in headers.get("Description", ""):
                        raise ConsumerGoneError(f"consumer {consumer!r} of stream {stream!r} was deleted")
                    if status != "100":  # the request has ended: expired, satisfied by bytes, or nobody leads yet
                        break
            except (nats.errors.Error, TimeoutError) as error:
                log.debug("nats.pull_again", stream=stream, consumer=consumer, error=str(error))
                # Silence beyond the heartbeat: ask again, elsewhere. A server that only hung answers every request
                # later, and all of them together are more than there is room for; what goes to a closed inbox comes
                # again after ack_wait.
                if bus.client.is_connected:
                    await subscription.unsubscribe()
                    subscription = await _inbox(bus, arrived)
    finally:
        if not bus.client.is_closed:
            await subscription.unsubscribe()


async def _inbox(bus: Bus, arrived: asyncio.Queue[Msg]) -> Subscription:
    """Where requests are answered. It has no limit of its own: what it dropped would come again after ack_wait."""
    return await bus.client.subscribe(
        bus.client.new_inbox(), cb=arrived.put, pending_msgs_limit=-1, pending_bytes_limit=-1
    )


async def _next(arrived: asyncio.Queue[Msg]) -> Msg:
    """The next message. nats-py's own `next_msg` makes two tasks and a UUID for each.

    Raises:
        TimeoutError: None came for longer than heartbeats take.
    """
    if not arrived.empty():
        return arrived.get_nowait()
    async with asyncio.timeout(2 * _HEARTBEAT_SECONDS):
        return await arrived.get()
