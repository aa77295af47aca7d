"""Health: each part of the mesh, what waits where, and everything that is wrong with what to do about it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from nicegui import ui

from console.looking import Look
from console.mesh import Mesh
from console.page import Page
from console.pages.health_view import (
    Backlog,
    Lag,
    Part,
    Remembered,
    backlogs,
    dead_letter_count,
    lags,
    parts,
    without_gateway,
)
from console.parts import heading
from console.texts import Translate, marked
from console.texts.messages import in_language
from console.visit import Visit
from framemesh.errors import FramemeshError
from framemesh.rpc.tokens import Role
from framemesh.words import printable, size, span

_AGAIN_SECONDS = 1.0
_REMEMBERED: WeakKeyDictionary[Mesh, Remembered] = WeakKeyDictionary()
"""One for all pages: what one has seen change, the next one says since when."""
Shown = TypeVar("Shown")


async def build(visit: Visit) -> None:
    """What is wrong, the parts, what waits."""
    board = _Board(visit)
    visit.run(board.look(), name="look")


class _Board:
    """All of one open page."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._t = _t = visit.translate
        self._remembered = _REMEMBERED.setdefault(visit.mesh, Remembered())
        with ui.element("section").classes("fm-verdict").props("role=status") as self._verdict:
            self._verdict_icon = ui.icon("hourglass_empty").props("aria-hidden=true")
            with ui.element("div"):
                self._verdict_words = ui.label(_t("Looking …")).classes("fm-verdict-words")
                self._problems = ui.element("ul").classes("fm-problems")
        self._told: tuple[tuple[str, str], ...] | None = None
        self._links()
        heading(_t("Parts"))
        self._parts = _Rows(ui.element("ul").classes("fm-parts"), lambda: _PartRow(_t))
        with ui.element("div").classes("fm-health-counted") as self._counted:
            heading(_t("Streams"))
            self._backlogs = _Rows(ui.element("ul").classes("fm-parts"), lambda: _BacklogRow(_t))
            self._letters = ui.link(target="/lake/dead-letters")
            self._letters.set_visibility(False)
            heading(_t("What waits"))
            self._lags = _Rows(ui.element("ul").classes("fm-parts"), lambda: _LagRow(_t))

    async def look(self) -> None:
        """Show how the mesh is, again and again; where the gateway does not answer, that too is how it is."""
        while True:
            try:
                async for look in self._visit.mesh.looking(self._visit.client).changes():
                    self._show(look)
            except FramemeshError as error:
                self._show_without(self._visit.words(error))
            await asyncio.sleep(_AGAIN_SECONDS)

    def _show(self, look: Look) -> None:
        status = look.status
        now = status.time.ToDatetime(UTC)
        found = self._remembered.add(parts(status, look.cameras), now)
        self._tell([(printable(problem), "") for problem in status.problems], found)
        self._parts.show(found, lambda part: part.key, now)
        self._backlogs.show(backlogs(status), lambda backlog: backlog.name, now)
        self._lags.show(lags(status), lambda lag: (lag.what, lag.name), now)
        letters = dead_letter_count(status)
        words = self._t("Dead letters: {count}. Look at them and try them again.", count=f"{letters:,}")
        self._letters.set_text(words)
        self._letters.set_visibility(letters > 0)
        self._counted.set_visibility(True)

    def _show_without(self, problem: str) -> None:
        now = datetime.now(UTC)
        found = self._remembered.add(without_gateway(problem, self._visit.mesh.bus.problem()), now, whole=False)
        self._counted.set_visibility(False)  # what was counted before says nothing of now
        self._tell([], found)
        self._parts.show(found, lambda part: part.key, now)

    def _tell(self, problems: list[tuple[str, str]], found: list[Part]) -> None:
        """The verdict in a sentence, and every problem in words, with its details."""
        _t = self._t
        troubled = [part for part in found if part.state in {"bad", "warn"} and part.advice]
        problems = [*problems, *((_words(part, _t), part.details) for part in troubled)]
        if tuple(problems) == self._told:
            return
        self._told = tuple(problems)
        self._verdict.classes(remove="good bad", add="bad" if problems else "good")
        self._verdict_icon.set_name("error" if problems else "check_circle")
        words = (
            _t("{count} things need a look", count=len(problems)) if len(problems) > 1 else _t("One thing needs a look")
        )
        self._verdict_words.set_text(words if problems else _t("All is well"))
        self._problems.clear()
        with self._problems:
            for problem, details in problems:
                with ui.element("li"):
                    ui.label(problem)
                    if details:
                        ui.label(details).classes("fm-muted fm-mono")

    def _links(self) -> None:
        url = self._visit.mesh.grafana_url
        if url is not None:
            with ui.element("a").classes("fm-button quiet fm-grafana").props("target=_blank rel=noopener") as link:
                ui.icon("bar_chart").props("aria-hidden=true")
                ui.label(self._t("Dashboards in Grafana"))
            link.props["href"] = f"{url}/dashboards?tag=framemesh"


def _words(part: Part, translate: Translate) -> str:
    name = f"{translate(part.kind.value)} {part.name}".strip()
    return f"{name}: {translate(part.words)}. {translate(part.advice)}"


class _Row(ABC, Generic[Shown]):
    """One line of a list, made once."""

    def __init__(self, translate: Translate) -> None:
        self._t = translate
        with ui.element("li").classes("fm-part") as self.root:
            with ui.element("div").classes("fm-part-name"):
                self._name = ui.label()
                self._about = ui.label().classes("fm-muted fm-small")
            self._build()

    @abstractmethod
    def _build(self) -> None:
        """Make what else is in it."""

    @abstractmethod
    def show(self, shown: Shown, now: datetime) -> None:
        """Show how it is now."""

    def _ago(self, then: datetime, now: datetime) -> str:
        seconds = max(0.0, (now - then).total_seconds())
        words = f"{seconds:.0f} s" if seconds < 10 else span(seconds)  # nobody counts how long something is up in ms
        return in_language(words, self._t)


class _PartRow(_Row[Part]):
    def _build(self) -> None:
        self._since = ui.label().classes("fm-muted fm-small fm-number")
        self._chip = ui.label()

    def show(self, shown: Part, now: datetime) -> None:
        _t = self._t
        self._name.set_text(_t(shown.kind.value))
        self._about.set_text(shown.name)
        self._since.set_text(_t("for {span}", span=self._ago(shown.since, now)) if shown.since else "")
        self._chip.set_text(_t(shown.words))
        self._chip.classes(replace=f"fm-chip {shown.state.value}")


class _BacklogRow(_Row[Backlog]):
    def _build(self) -> None:
        self.root.classes("fm-part-tall")
        with ui.element("div").classes("fm-part-bar"):
            self._bar = ui.linear_progress(show_value=False, size="6px", color=None)
            self._words = ui.label().classes("fm-muted fm-small fm-number")

    def show(self, shown: Backlog, now: datetime) -> None:
        _t = self._t
        self._name.set_text(shown.name)
        self._about.set_text(_t(shown.meaning) if shown.meaning else "")
        self._bar.set_value(round(shown.share, 3))
        self._bar.props["aria-label"] = shown.name
        held = _t(
            "{messages} messages, {held} of {limit}",
            messages=f"{shown.messages:,}", held=size(shown.size_bytes), limit=size(shown.limit_bytes),
        )  # fmt: skip
        oldest = _t("the oldest {span} old", span=self._ago(shown.oldest, now)) if shown.oldest else ""
        self._words.set_text(", ".join(word for word in (held, oldest) if word))
        self._bar.classes(
            remove="" if shown.nearly_full else "nearly-full", add="nearly-full" if shown.nearly_full else ""
        )


class _LagRow(_Row[Lag]):
    def _build(self) -> None:
        self._since = ui.label().classes("fm-muted fm-small fm-number")
        self._waiting = ui.label().classes("fm-number")

    def show(self, shown: Lag, now: datetime) -> None:
        _t = self._t
        self._name.set_text(shown.name)
        self._about.set_text(_t(shown.what))
        self._since.set_text(_t(shown.meaning, span=self._ago(shown.time, now)) if shown.time else "")
        self._waiting.set_text(f"{shown.waiting:,}")


class _Rows(Generic[Shown]):
    """A list whose lines stay where they are: only what changes of them is sent."""

    def __init__(self, place: ui.element, make: Callable[[], _Row[Shown]]) -> None:
        self._place = place
        self._make = make
        self._rows: dict[object, _Row[Shown]] = {}

    def show(self, shown: Sequence[Shown], key: Callable[[Shown], object], now: datetime) -> None:
        """Show these, in their order."""
        keys = [key(one) for one in shown]
        for gone in self._rows.keys() - set(keys):
            self._rows.pop(gone).root.delete()
        for number, (name, one) in enumerate(zip(keys, shown, strict=True)):
            if name not in self._rows:
                with self._place:
                    self._rows[name] = self._make()
                self._rows[name].root.move(target_index=number)
            self._rows[name].show(one, now)


PAGE = Page("/health", marked("Health"), "monitor_heart", Role.READ, build, tells_trouble=True)
