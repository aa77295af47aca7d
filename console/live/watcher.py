"""One browser that watches: what it wants to see, and the newest of it that it has not got yet."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from console.drawing import Drawing
from console.live.tiles import Picture

_AHEAD = 2
_ASLEEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class View:
    """What a browser wants to see.

    Attributes:
        camera: This one alone and whole; none means all of them, small.
        models: Whose answers.
    """

    camera: str | None = None
    models: tuple[str, ...] = ()

    @staticmethod
    def parse(wish: Mapping[str, Any], *, max_models: int = 8) -> "View":
        """What a browser's message says; what it should not have said is left out."""
        camera, models = wish.get("camera"), wish.get("models")
        named = [name for name in models if isinstance(name, str)] if isinstance(models, list) else []
        return View(camera if isinstance(camera, str) else None, tuple(sorted(set(named))[:max_models]))


@dataclass(frozen=True, slots=True)
class Update:
    """A frame for the screen, with its answers drawn in its pixels; `parts` are the PNGs that drawings number."""

    camera: str
    frame_id: str
    captured_ns: int
    picture: Picture
    drawings: tuple[Drawing, ...]
    parts: tuple[bytes, ...]


class Watcher:
    """Holds at most one update of each camera, the newest. A browser that is slow, or not looked at, gets fewer."""

    def __init__(self) -> None:
        self.view = View()
        self.seen: dict[str, tuple[int, ...]] = {}
        """Signature of what it was sent last of each camera."""
        self._waiting: dict[str, Update] = {}
        self._arrived = asyncio.Event()
        self._credits = _AHEAD
        self._heard_at = time.monotonic()

    @property
    def awake(self) -> bool:
        """Whether anybody looks: a hidden page says nothing."""
        return time.monotonic() < self._heard_at + _ASLEEP_SECONDS

    @property
    def ready(self) -> bool:
        """Whether it can take more at once."""
        return self._credits > 0

    def want(self, view: View) -> None:
        """Show something else from now on."""
        self.view = view
        self.seen.clear()
        self._waiting.clear()
        self.painted(0)

    def painted(self, count: int) -> None:
        """The browser has painted so many messages, which may be none: it says at least that somebody looks."""
        self._credits = min(_AHEAD, self._credits + max(0, count))
        self._heard_at = time.monotonic()
        self._arrived.set()

    def offer(self, update: Update) -> None:
        """Have something new for it."""
        self._waiting[update.camera] = update
        self._arrived.set()

    async def take(self, *, within: float) -> list[Update]:
        """All that is new, once the browser can take it; empty where nothing is for so long."""
        try:
            async with asyncio.timeout(within):
                while not (self._waiting and self.ready):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return []
        self._credits -= 1
        updates = list(self._waiting.values())
        self._waiting.clear()
        return updates
