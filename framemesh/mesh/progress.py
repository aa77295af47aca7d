"""What a mesh is doing right now, for people: a live table on a terminal, a line every few seconds elsewhere."""

import asyncio
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

from nats.aio.msg import Msg
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from framemesh.bus import Bus
from framemesh.bus.streams import result_subject
from framemesh.client import AsyncClient
from framemesh.errors import FramemeshError
from framemesh.figures import ModelFigures, Rate
from framemesh.v1.frame_pb2 import StoredFrame
from framemesh.v1.model_pb2 import Model
from framemesh.v1.result_pb2 import Result
from framemesh.waiting import happens
from framemesh.words import called, span, state_beside_problems

_TABLE_SECONDS = 1.0
_LINE_SECONDS = 5.0
_LOOK_SECONDS = 3.0
_GROWTH_SECONDS = 5.0  # as long as rates are taken over


@dataclass(slots=True)
class _CameraNow:
    stored: Rate = field(default_factory=Rate)
    stored_total: int = 0
    waiting: deque[tuple[float, int]] = field(default_factory=deque)
    """How many frames waited to be stored, and when that was."""

    def waits(self, when: float, count: int) -> None:
        """Note how many wait; what is older than rates go back is forgotten, but for what the newest is compared to."""
        self.waiting.append((when, count))
        while len(self.waiting) > 2 and self.waiting[1][0] < when - _GROWTH_SECONDS:
            self.waiting.popleft()

    def waiting_count(self) -> int:
        """How many wait."""
        return self.waiting[-1][1] if self.waiting else 0

    def published_fps(self) -> float:
        """What the stream accepted: what was stored, and what waits more than before."""
        if len(self.waiting) < 2:
            return self.stored.value()
        (first_time, first), (last_time, last) = self.waiting[0], self.waiting[-1]
        return max(0.0, self.stored.value() + (last - first) / max(last_time - first_time, 1e-9))

    def behind(self) -> bool:
        """Whether more than five seconds of frames wait to be stored."""
        return self.waiting_count() > 5 * max(1.0, self.published_fps())


class Progress:
    """Follows references and results on the bus and shows them.

    Args:
        bus: Where they go by.
        client: The gateway, which knows how the mesh is.
        console: Where to show; a table that renews itself where it is a terminal.
    """

    name = "progress"

    def __init__(self, bus: Bus, client: AsyncClient, console: Console) -> None:
        self._bus = bus
        self._client = client
        self._console = console
        self._cameras: dict[str, _CameraNow] = defaultdict(_CameraNow)
        self._answers: dict[str, ModelFigures] = defaultdict(ModelFigures)
        self._models: list[Model] = []
        self._problems: list[str] = []
        self._looked: float | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Show until stopped."""
        await self._bus.client.subscribe("stored.*", cb=self._on_stored)
        for shadow in (False, True):
            await self._bus.client.subscribe(result_subject("*", "*", shadow=shadow), cb=self._on_result)
        await self._look()
        if self._console.is_terminal:
            with Live(console=self._console, auto_refresh=False, transient=True) as live:
                while not await happens(self._stopping, within=_TABLE_SECONDS):
                    await self._look()
                    live.update(self._table(), refresh=True)
        else:
            while not await happens(self._stopping, within=_LINE_SECONDS):
                await self._look()
                self._console.print(self._line(), soft_wrap=True, highlight=False)

    def stop(self) -> None:
        """Show no more."""
        self._stopping.set()

    async def _on_stored(self, message: Msg) -> None:
        camera = self._cameras[StoredFrame.FromString(message.data).frame.camera]
        camera.stored.add()
        camera.stored_total += 1

    async def _on_result(self, message: Msg) -> None:
        result = Result.FromString(message.data)
        self._answers[result.answer.model].add(result)

    async def _look(self) -> None:
        """Ask for what does not go by on the bus."""
        try:
            status = await self._client.status(timeout=_LOOK_SECONDS)
        except FramemeshError:
            return  # the gateway is being restarted: show what we know
        self._models = [each.model for each in status.models]
        self._problems = list(status.problems)
        if not status.bus_answers:
            return
        waiting = {camera.camera: camera.waiting_frame_count for camera in status.cameras if camera.waiting_frame_count}
        now = time.monotonic()
        for name in {*waiting, *self._cameras}:
            camera = self._cameras[name]
            if not camera.waiting and self._looked is not None:
                camera.waits(self._looked, 0)  # there was nothing of it yet
            camera.waits(now, waiting.get(name, 0))
        self._looked = now

    def _table(self) -> Group:
        cameras = Table("camera", box=None, header_style="bold", padding=(0, 2, 0, 0))
        for title in ("published/s", "stored/s", "stored", "waiting"):
            cameras.add_column(title, justify="right")
        for name, camera in sorted(self._cameras.items()):
            cameras.add_row(
                Text(name),
                f"{camera.published_fps():.1f}",
                f"{camera.stored.value():.1f}",
                f"{camera.stored_total}",
                f"{camera.waiting_count()}",
            )
        models = Table("model", box=None, header_style="bold", padding=(0, 2, 0, 0))
        models.add_column("state")
        for title in ("analysed/s", "latency", "staleness"):
            models.add_column(title, justify="right")
        models.add_column("newest answer")
        for model in self._models:
            now = self._answers[model.spec.name]
            models.add_row(
                Text(called(model.spec)),
                state_beside_problems(model),
                f"{now.answered.value():.1f}",
                span(now.latency),
                span(now.staleness),
                Text(now.newest),
            )
        advice = Text("Ctrl-C drains and stops", style="dim")
        if any(camera.behind() for camera in self._cameras.values()):
            advice = Text("storing can't keep up: frames wait in NATS. Try a lower --fps or --size", style="yellow")
        problems = [Text(problem, style="yellow") for problem in self._problems]
        return Group("", cameras, "", models, "", *problems, advice)

    def _line(self) -> Text:
        cameras = ", ".join(
            f"{name} {camera.published_fps():.1f}/s published {camera.stored.value():.1f}/s stored"
            for name, camera in sorted(self._cameras.items())
        )
        models = ", ".join(
            f"{called(model.spec)} {state_beside_problems(model)} {now.answered.value():.1f}/s, "
            f"latency {span(now.latency)}, staleness {span(now.staleness)}, newest {now.newest or 'none'}"
            for model in self._models
            if (now := self._answers[model.spec.name])
        )
        parts = (f"cameras: {cameras or 'none yet'}", f"models: {models or 'none'}", *self._problems)
        return Text(" | ".join(parts))
