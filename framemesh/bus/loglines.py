"""What services log, told on NATS for whoever listens at the moment. Never in the way of what is logged about."""

import asyncio
import re
import threading
import time
from collections import deque
from collections.abc import Mapping

from framemesh.bus import encoding
from framemesh.bus.connection import Bus
from framemesh.bus.presence import instance, tell
from framemesh.frames import timestamp
from framemesh.telemetry import logs
from framemesh.v1.service_pb2 import LogLine
from framemesh.waiting import happens

SUBJECTS = "logs.*.*"

_TELL_SECONDS = 0.25
_AT_ONCE = 16
"""Lines a turn: what says more than 64 lines a second is left out."""
_KEPT = 64
_VALUE_LENGTH = 500
_OWN = {"service", "level", "event", "timestamp", "model"}
_FRAMES = re.compile(r'\n  File "[^\n]*(?:\n    [^\n]*)*\n')
"""What stands between a traceback's first line and the error itself."""


class LogLines:
    """Tells what this process logs from INFO up, until it is stopped. Of very many lines it leaves some out.

    What it logs of each frame that went well is not told: there may be hundreds a second, and results go by anyway.

    Args:
        bus: Where it is told. What is logged while NATS is away is told afterwards, the newest of it.
        model: What every line is about, whatever it names; empty where that is the model that it names.
    """

    name = "log lines"

    def __init__(self, bus: Bus, *, model: str = "") -> None:
        self._bus = bus
        self._model = model
        self._instance = instance()
        self._waiting: deque[LogLine] = deque()
        self._left_out = 0
        self._lock = threading.Lock()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Tell until stopped; then tell what is left."""
        with logs.listening(self._hear):
            while not await happens(self._stopping, within=_TELL_SECONDS):
                await self._tell()
            await self._tell()

    def stop(self) -> None:
        """Tell what is left."""
        self._stopping.set()

    def _hear(self, event: Mapping[str, object]) -> None:
        """Keep a line until it is told. Called by whichever thread logs it."""
        level = event.get("level")
        if level == "debug" or (level == "info" and "frame_id" in event):
            return
        line = log_line(event, self._instance, self._model, time.time_ns())
        with self._lock:
            if len(self._waiting) == _KEPT:
                self._left_out += 1 + self._waiting.popleft().left_out_count
            self._waiting.append(line)

    async def _tell(self) -> None:
        for _ in range(_AT_ONCE):
            with self._lock:
                if not self._waiting:
                    return
                line = self._waiting.popleft()
                line.left_out_count, self._left_out = line.left_out_count + self._left_out, 0
            if not await tell(self._bus, f"logs.{line.service}.{line.instance}", encoding.dump(line)):
                with self._lock:
                    self._waiting.appendleft(line)
                return


def log_line(event: Mapping[str, object], instance: str, model: str, now_ns: int) -> LogLine:
    """A line that structlog is about to write, as others are told of it."""
    made = LogLine(
        time=timestamp(now_ns),
        service=str(event.get("service", "")),
        instance=instance,
        level=str(event.get("level", "")),
        event=str(event.get("event", ""))[:_VALUE_LENGTH],
        model=model or str(event.get("model", ""))[:_VALUE_LENGTH],
    )
    own = _OWN if event.get("model", "") == made.model else _OWN - {"model"}
    for name, value in event.items():
        if name not in own and not name.startswith("_"):  # what `logging` passes on for itself
            words = _FRAMES.split(str(value))[-1] if name == "exception" else str(value)
            made.fields[name] = words[:_VALUE_LENGTH]
    return made
