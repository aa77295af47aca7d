"""What goes by on NATS while the console runs: figures of models' results, lines of their logs, what people say."""

import asyncio
from collections import OrderedDict, deque
from datetime import UTC, datetime
from typing import TypeVar

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nicegui import Event

from framemesh.bus import Bus, corrections, encoding, loglines
from framemesh.bus.streams import result_subject
from framemesh.figures import ModelFigures
from framemesh.v1.correction_pb2 import Correction
from framemesh.v1.result_pb2 import Result
from framemesh.v1.service_pb2 import LogLine

Kept = TypeVar("Kept")

_MODELS = 256
"""Those heard last are kept, whatever names somebody makes up."""
_LINES = 200


class Hearing:
    """Listens while it runs. Reading is instant, from memory.

    Args:
        bus: Where all of it goes by.
    """

    name = "hearing"

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._figures: OrderedDict[str, ModelFigures] = OrderedDict()
        self._lines: OrderedDict[str, deque[LogLine]] = OrderedDict()
        self._stopping = asyncio.Event()
        self.since = datetime.now(UTC)
        """Since when what is counted is counted."""
        self.line_heard = Event[LogLine]()
        """Told of each line about a model; a page's callbacks go with the page."""
        self.correction_heard = Event[Correction]()
        """Told, alike, of each correction of a frame, and of each that is taken back."""

    def figures(self, model: str, since_ns: int) -> ModelFigures | None:
        """What a model's results say of it; none before the first.

        Args:
            model: Its name.
            since_ns: Since when it is there, in Unix nanoseconds: what another of its name said before is forgotten.
        """
        found = self._figures.get(model)
        if found is not None and found.answer_time_ns < since_ns:
            del self._figures[model]
            return None
        return found

    def lines(self, model: str) -> list[LogLine]:
        """A model's newest lines, the oldest first."""
        return list(self._lines.get(model, ()))

    async def run(self) -> None:
        """Listen until stopped."""
        client = self._bus.client
        heard = [
            await client.subscribe(result_subject("*", "*", shadow=False), cb=self._hear_result),
            await client.subscribe(result_subject("*", "*", shadow=True), cb=self._hear_result),
            await client.subscribe(loglines.SUBJECTS, cb=self._hear_line),
            await client.subscribe(corrections.SUBJECTS, cb=self._hear_correction),
        ]
        await self._stopping.wait()
        if client.is_connected:
            for subscription in heard:
                await subscription.unsubscribe()

    def stop(self) -> None:
        """Listen no more."""
        self._stopping.set()

    async def _hear_result(self, message: Msg) -> None:
        try:
            result = Result.FromString(message.data)
        except DecodeError:  # somebody else's
            return
        model = result.answer.model
        _touch(self._figures, model, ModelFigures()).add(result)

    async def _hear_line(self, message: Msg) -> None:
        line = encoding.load(message.data, LogLine())
        if line is None or not line.model:
            return
        _touch(self._lines, line.model, deque[LogLine](maxlen=_LINES)).append(line)
        self.line_heard.emit(line)

    async def _hear_correction(self, message: Msg) -> None:
        said = corrections.load(message.data)
        if said is not None:
            self.correction_heard.emit(said)


def _touch(kept: OrderedDict[str, Kept], model: str, fresh: Kept) -> Kept:
    """What is kept of a model, or something fresh that is kept from now on; what was heard longest ago makes room."""
    found = kept.setdefault(model, fresh)
    kept.move_to_end(model)
    if len(kept) > _MODELS:
        kept.popitem(last=False)
    return found
