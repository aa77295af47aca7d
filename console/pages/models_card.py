"""A model's card on the page Models: made once, then only what has changed of it is sent."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from nicegui import ui

from console.pages.models_view import FiguresView, ModelView
from console.texts import Translate, marked
from framemesh.specs import MAX_REPLICAS

Element = TypeVar("Element", bound=ui.element)

_FIGURES = {
    "rate": marked("Answers"),
    "latency": marked("Latency"),
    "staleness": marked("Frame age"),
    "waiting": marked("Waiting"),
    "failed": marked("Failed"),
}


@dataclass(frozen=True, slots=True)
class Actions:
    """What an operator may do with a model; each takes its name."""

    scale: Callable[[str, int], Awaitable[None]]
    replace: Callable[[str], None]
    delete: Callable[[str], Awaitable[None]]


class ModelCard:
    """One model.

    Args:
        view: How it is.
        translate: For our own texts.
        log: Shows its log.
        actions: What may be done with it; none for those who may only look.
    """

    def __init__(
        self, view: ModelView, translate: Translate, log: Callable[[str], None], actions: Actions | None
    ) -> None:
        self._t = translate
        self._actions = actions
        self._view: ModelView | None = None
        with ui.element("li").classes("fm-card fm-model") as self._root:
            self._root.props["data-model"] = view.name
            self._head(view.name)
            self._progress()
            self._trouble()
            self._numbers(view.name)
            self._buttons(view.name, log)
        self.show(view)

    def show(self, view: ModelView) -> None:
        """Show the model as it is now."""
        before, self._view = self._view, view
        if view == before:
            return
        _t = self._t
        self._chip.set_text(_t(view.state))
        self._chip.classes(replace=f"fm-chip {view.tone.value}")
        self._source.set_text(view.source)
        version = _t("version {version}", version=view.version) if view.version else ""
        about = [view.form, ", ".join(view.cameras) or _t("all cameras"), version]
        self._about.set_text(" · ".join(words for words in about if words))
        self._show_progress(view)
        self._words.set_text(view.trouble)
        self._words.set_visibility(bool(view.trouble))
        self._advice.set_text(_t(view.advice, source=view.wanted_source) if view.advice else "")
        self._trouble_box.set_visibility(bool(view.trouble or view.advice))
        self._trouble_box.classes(remove="warn bad", add=view.tone.value if view.trouble else "")
        self._replicas.set_text(_t("{ready} of {wanted}", ready=view.ready, wanted=view.wanted))
        self._live.props(f'href="{view.live}"')
        self._live.set_visibility(bool(view.live))
        if self._actions is not None:
            self._wanted.set_text(str(view.wanted))
            self._fewer.set_enabled(view.wanted > 0)
            self._more.set_enabled(view.wanted < MAX_REPLICAS)

    def tick(self, figures: FiguresView) -> None:
        """Show its newest figures."""
        for name, label in self._values.items():
            label.set_text(getattr(figures, name) or "–")
        self._newest.set_text(figures.newest or self._t("No answer yet"))
        self._newest_error.set_text(figures.newest_error)
        self._newest_error.set_visibility(bool(figures.newest_error))
        answers = bool(figures.newest or (self._view is not None and self._view.ready))
        self._numbers_box.set_visibility(answers)  # before there is anything to count they would only be in the way

    def remove(self) -> None:
        """The model is no more."""
        self._root.delete()

    def _head(self, name: str) -> None:
        with ui.element("div").classes("fm-model-head"):
            with ui.element("h2"):
                ui.label(name)
            with ui.element("div").props("role=status"):
                self._chip = ui.label()
        with ui.element("div").classes("fm-model-about"):
            self._source = ui.label().classes("fm-mono")
            self._about = ui.label().classes("fm-muted fm-small")

    def _progress(self) -> None:
        with ui.element("div").classes("fm-model-progress") as self._progress_box:
            with ui.element("div").classes("fm-row fm-spread"):
                self._step = ui.label()
                self._share = ui.label().classes("fm-muted fm-number")
            self._bar = _named(ui.linear_progress(show_value=False, size="6px", color=None), self._t("Progress"))

    def _show_progress(self, view: ModelView) -> None:
        self._progress_box.set_visibility(bool(view.step))
        self._step.set_text(self._t(view.step) if view.step else "")
        known = view.progress is not None
        if ("indeterminate" in self._bar.props) == known:
            self._bar.props(remove="indeterminate") if known else self._bar.props("indeterminate")
        self._share.set_text(f"{view.progress:.0%}".replace("%", " %") if known else "")
        self._bar.set_value(round(view.progress or 0.0, 3))

    def _trouble(self) -> None:
        with ui.element("div").classes("fm-note") as self._trouble_box:
            self._words = ui.label().classes("fm-note-words")
            self._advice = ui.label()

    def _numbers(self, name: str) -> None:
        _t = self._t
        with ui.element("div").classes("fm-model-numbers") as self._numbers_box:
            with ui.element("dl").classes("fm-figures"):
                self._replicas = self._figure(_t("Servers"))
                self._values = {name: self._figure(_t(title)) for name, title in _FIGURES.items()}
            with ui.element("div").classes("fm-model-newest"):
                with ui.element("div").classes("fm-row fm-spread"):
                    ui.label(_t("Newest answer")).classes("fm-muted fm-small")
                    self._live = _named(ui.element("a").classes("fm-small"), _t("Watch {model}", model=name))
                    with self._live:
                        ui.label(_t("Watch"))
                self._newest = ui.label(_t("No answer yet"))
                self._newest_error = ui.label().classes("fm-bad fm-small")
                self._newest_error.set_visibility(False)

    @staticmethod
    def _figure(title: str) -> ui.label:
        with ui.element("div"):
            with ui.element("dt"):
                ui.label(title)
            with ui.element("dd"):
                return ui.label("–").classes("fm-number")

    def _buttons(self, name: str, log: Callable[[str], None]) -> None:
        _t, actions = self._t, self._actions
        with ui.element("div").classes("fm-model-buttons"):
            if actions is not None:
                with _named(ui.element("div").classes("fm-stepper").props("role=group"), _t("Servers")):
                    self._fewer = _named(_round("remove"), _t("One server fewer for {model}", model=name))
                    self._wanted = ui.label().classes("fm-number")
                    self._more = _named(_round("add"), _t("One server more for {model}", model=name))
                    ui.label(_t("servers")).classes("fm-stepper-unit")
                self._fewer.on_click(lambda: self._scale(-1))
                self._more.on_click(lambda: self._scale(1))
            _named(_quiet("article", _t("Log"), lambda: log(name)), _t("Log of {model}", model=name))
            if actions is not None:
                replace = _quiet("swap_horiz", _t("Replace"), lambda: actions.replace(name))
                _named(replace, _t("Replace {model}", model=name))
                _named(_quiet("delete", _t("Delete"), lambda: actions.delete(name)), _t("Delete {model}", model=name))

    async def _scale(self, by: int) -> None:
        if self._actions is not None and self._view is not None:
            wanted = min(MAX_REPLICAS, max(0, self._view.wanted + by))
            if wanted != self._view.wanted:
                await self._actions.scale(self._view.name, wanted)


def _round(icon: str) -> ui.button:
    return ui.button(icon=icon, color=None).props("flat round dense")


def _quiet(icon: str, text: str, on_click: Callable[[], object]) -> ui.button:
    return ui.button(text, icon=icon, color=None, on_click=on_click).props("flat dense")


def _named(element: Element, words: str) -> Element:
    """The element with a name for screen readers."""
    element.props["aria-label"] = words
    return element
