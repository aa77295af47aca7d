"""Compare: two models over the same stored frames, in figures and in pictures."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from nicegui import ui
from starlette.datastructures import QueryParams

from console.compared import show
from console.history import on_back_or_forward
from console.page import Page
from console.parts import empty
from console.searching import times
from console.texts import marked
from console.texts.messages import in_language
from console.visit import Visit
from framemesh.comparing import Comparison, Side, answering, compare
from framemesh.errors import FramemeshError
from framemesh.names import is_label
from framemesh.query import LakeTables
from framemesh.rpc.tokens import Role
from framemesh.times import EARLIEST, LATEST, parse_time

COMPARE: Final = "/compare"

_SECONDS = 120.0
_MOST_FRAMES = 5_000
"""Compared at once, evenly drawn from all: more would keep the console's process from its pages."""
_DISAGREEMENTS = 24
_DEFAULT_TIME = "1d"
_TELL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Question:
    """What is compared, as people write it: a model may be `name@version`."""

    a: str = ""
    b: str = ""
    cameras: tuple[str, ...] = ()
    since: str = _DEFAULT_TIME

    @staticmethod
    def of(query: QueryParams) -> "Question":
        """What an address asks; what can't be is passed over."""
        cameras = tuple(name for name in query.getlist("camera") if is_label(name))
        return Question(
            _side(query.get("a", "")), _side(query.get("b", "")), cameras, query.get("since", _DEFAULT_TIME)
        )

    def address(self) -> str:
        """Of the page that answers it."""
        said = {"a": self.a, "b": self.b, "camera": list(self.cameras), "since": self.since}
        return f"{COMPARE}?{urlencode(said, doseq=True)}"

    def answer(self, tables: LakeTables, on_progress: Callable[[int, int], None]) -> Comparison:
        """Compare.

        Raises:
            ValueError: The time is none.
            FramemeshError: As `framemesh.comparing.compare` says.
        """
        return compare(
            tables,
            Side.parse(self.a),
            Side.parse(self.b),
            since=max(parse_time(self.since, now=datetime.now(UTC)), EARLIEST) if self.since else EARLIEST,
            until=LATEST,
            cameras=self.cameras,
            max_frames=_MOST_FRAMES,
            limit=_DISAGREEMENTS,
            on_progress=on_progress,
        )


def _side(text: str) -> str:
    return text if is_label(Side.parse(text).model) and len(text) < 200 else ""


async def build(visit: Visit) -> None:
    """The form, and the comparison where the address asks for one."""
    _Compare(visit).start()


class _Compare:
    def __init__(self, visit: Visit) -> None:
        _t = self._t = visit.translate
        self._visit = visit
        self._question = Question.of(visit.query)
        self._task: asyncio.Task[None] | None = None
        with ui.element("form").classes("fm-filters fm-compare-form") as form:
            self._a, self._b = (
                ui.select([], label=label, with_input=True, new_value_mode="add-unique")
                for label in (_t("Model A"), _t("Model B"))
            )
            self._cameras = ui.select([], label=_t("Camera"), multiple=True).props("use-chips")
            self._time = ui.select(times(_t), label=_t("Taken"))
            ui.button(_t("Compare"), icon="compare_arrows").props("type=submit")
        form.on("submit", self._submit, js_handler="(event) => { event.preventDefault(); emit(); }")
        self._found = ui.element("div").classes("fm-stack").props("role=region aria-live=polite")
        self._found.props["aria-label"] = _t("Comparison")
        on_back_or_forward(self._went_back)

    def start(self) -> None:
        """Answer what the address asks."""
        self._task = self._visit.run(self._show(), name="compare")

    def _submit(self) -> None:
        self._question = Question(
            a=_side(self._a.value or ""),
            b=_side(self._b.value or ""),
            cameras=tuple(self._cameras.value or ()),
            since=self._time.value or "",
        )
        ui.navigate.history.push(self._question.address())
        self._restart()

    def _went_back(self, query: QueryParams) -> None:
        self._question = Question.of(query)
        self._restart()

    def _restart(self) -> None:
        if self._task is not None:
            self._task.cancel()
        with self._found:  # the button that was pressed goes with what it stands among
            self.start()

    async def _show(self) -> None:
        _t, question = self._t, self._question
        self._found.clear()
        try:
            cameras, models = await self._visit.mesh.tables.ask(lambda tables: (tables.cameras, answering(tables)))
            self._offer(question, cameras, models)
            if not question.a or not question.b:
                with self._found:
                    self._invite(models)
                return
            found = await self._compare(question)
        except (FramemeshError, ValueError) as error:
            self._found.clear()
            with self._found, empty("compare", _t("This can't be compared"), in_language(error, _t)):
                ui.button(_t("Try again"), on_click=self._restart)
            return
        self._found.clear()
        with self._found:
            show(found, _t)

    def _offer(self, question: Question, cameras: list[str], models: list[str]) -> None:
        for select, value in ((self._a, question.a), (self._b, question.b)):
            select.set_options(sorted({*models, *([value] if value else [])}), value=value or None)
        self._cameras.set_options(sorted({*cameras, *question.cameras}), value=list(question.cameras))
        self._time.set_options({question.since: question.since} | times(self._t), value=question.since)

    def _invite(self, models: list[str]) -> None:
        _t = self._t
        if len(models) < 2:
            words = _t("It takes two models that have answered the same frames: deploy another, or replay one.")
            empty("compare_arrows", _t("Fewer than two models have answered"), words)
        else:
            words = _t(
                "How often they agree, where they don't, and what each costs. NAME@VERSION is one version of a model."
            )
            empty("compare_arrows", _t("Choose two models"), words)

    async def _compare(self, question: Question) -> Comparison:
        """Compare, with a bar that tells how far it is.

        Raises:
            FramemeshError, ValueError: It can't be.
        """
        with self._found, ui.element("div").classes("fm-card fm-stack").props("role=status"):
            words = ui.label(self._t("Reading the tables ..."))
            bar = ui.linear_progress(0, show_value=False).props("indeterminate")
        loop = asyncio.get_running_loop()

        def tell(done: int, total: int) -> None:
            bar.props(remove="indeterminate")
            bar.value = done / max(total, 1)
            words.set_text(self._t("{done} of {total} frames compared", done=f"{done:,}", total=f"{total:,}"))

        told = 0.0

        def on_progress(done: int, total: int) -> None:
            nonlocal told
            if total and loop.time() > told + _TELL_SECONDS:
                told = loop.time()
                with suppress(RuntimeError):  # the console is stopping
                    loop.call_soon_threadsafe(tell, done, total)

        return await self._visit.mesh.tables.ask(lambda tables: question.answer(tables, on_progress), seconds=_SECONDS)


PAGE = Page(COMPARE, marked("Compare"), "compare_arrows", Role.READ, build)
