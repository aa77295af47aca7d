"""Which frames a model has answered already, by the tail of its results."""

import asyncio
import time
from contextlib import aclosing

from framemesh.bus import Bus, streams
from framemesh.bus.reading import between
from framemesh.bus.states import stream_state
from framemesh.frames import MESSAGE_ID

_TAIL = 20_000
"""Results of all models among which that of an interrupted try must be: it was published moments before the process or
the connection ended, and `ack_wait` later the frame is here again."""


class Answered:
    """Tells whether a try that was interrupted had published its result.

    `Nats-Msg-Id` keeps a second result out for as long as the stream's duplicate window; a frame may wait longer than
    that for its model.

    Args:
        bus: Where results are.
        model: The model's name.
        shadow: Whether it is one.
    """

    def __init__(self, bus: Bus, model: str, *, shadow: bool) -> None:
        self._bus = bus
        self._model = model
        self._stream = streams.results_stream(shadow=shadow)
        self._subject = streams.result_subject(model, "*", shadow=shadow)
        self._read_at = float("-inf")
        self._known: set[str] = set()
        self._reading = asyncio.Lock()

    async def has(self, frame_id: str, *, since: float) -> bool:
        """Whether there is a result, by a reading not older than `since` (`time.monotonic`).

        Raises:
            BusUnavailableError: It can't be read now.
        """
        async with self._reading:
            if self._read_at < since:
                began = time.monotonic()
                self._known = await self._read()
                self._read_at = began
        return frame_id in self._known

    async def _read(self) -> set[str]:
        prefix = f"{self._model}/"
        last = (await stream_state(self._bus, self._stream)).last
        tail = between(
            self._bus,
            self._stream,
            max(1, last - _TAIL),
            last,
            subject=self._subject,
            headers_only=True,
        )
        async with aclosing(tail):
            return {
                name.removeprefix(prefix)
                async for message in tail
                if (name := (message.headers or {}).get(MESSAGE_ID, "")).startswith(prefix)
            }
