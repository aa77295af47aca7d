"""Reading a part of a stream again, without a trace: nothing is acknowledged, nobody else's place changes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace

import nats.errors
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from framemesh.bus.connection import Bus, reporting
from framemesh.bus.consuming import ConsumerGoneError, consume
from framemesh.bus.streams import MAX_PAYLOAD_BYTES
from framemesh.errors import BusUnavailableError

_BATCH = 256
_BATCH_BYTES = 2 * MAX_PAYLOAD_BYTES
_SILENT_SECONDS = 5.0
_INACTIVE_SECONDS = 60.0


async def between(
    bus: Bus, stream: str, first: int, last: int, *, subject: str | None = None, headers_only: bool = False
) -> AsyncGenerator[Msg, None]:
    """Yield a stream's messages with sequences from `first` to `last`, those that it still holds.

    Args:
        bus: The connection.
        stream: The stream's name.
        first: The first sequence.
        last: The last sequence.
        subject: Only messages on this one, which may have wildcards.
        headers_only: Leave the bodies out.

    Raises:
        BusUnavailableError: It can't be read now, or stopped before the end; begin again.
    """
    if first > last:
        return
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=first,
        filter_subject=subject,
        headers_only=headers_only or None,
    )
    async with aclosing(_read(bus, stream, config)) as messages:
        async for message in messages:
            sequence = message.metadata.sequence.stream
            if sequence <= last:
                yield message
            if sequence >= last:
                break


async def newest(bus: Bus, stream: str, subject: str) -> AsyncGenerator[Msg, None]:
    """Yield the newest message of each subject that matches, in the order in which the stream took them.

    Raises:
        BusUnavailableError: As `between`.
    """
    config = ConsumerConfig(deliver_policy=DeliverPolicy.LAST_PER_SUBJECT, filter_subject=subject)
    async with aclosing(_read(bus, stream, config)) as messages:
        async for message in messages:
            yield message


async def _read(bus: Bus, stream: str, config: ConsumerConfig) -> AsyncGenerator[Msg, None]:
    """Yield what a consumer of that configuration finds, up to what is there now."""
    config = replace(config, ack_policy=AckPolicy.NONE, inactive_threshold=_INACTIVE_SECONDS)
    with reporting(f"stream {stream} can't be read"):
        made = await bus.js.add_consumer(stream, config)
        left = made.num_pending
        messages = consume(bus, stream, made.name, batch=_BATCH, max_bytes=_BATCH_BYTES, room=_always)
        try:
            async with aclosing(messages):
                while left:
                    try:
                        async with asyncio.timeout(_SILENT_SECONDS):
                            message = await anext(messages)
                    except (TimeoutError, StopAsyncIteration, ConsumerGoneError):
                        if not (await bus.js.consumer_info(stream, made.name)).num_pending:
                            break  # the stream's limits took the rest
                        raise BusUnavailableError(f"NATS stopped in the middle of stream {stream}") from None
                    left = message.metadata.num_pending
                    yield message
        finally:
            with suppress(nats.errors.Error, TimeoutError):  # else it goes after a minute of silence
                await bus.js.delete_consumer(stream, made.name)


async def _always() -> None:
    """There is room: whoever iterates takes one message at a time."""
