"""A model's log, line by line as it comes."""

from datetime import UTC

from nicegui import ui

from console.hearing import Hearing
from console.texts import Translate
from framemesh.v1.service_pb2 import LogLine
from framemesh.words import printable

_SHOWN = 200


class LogPane:
    """A dialog that shows one model's log at a time. Made inside the page, once.

    Args:
        hearing: Hears the lines.
        translate: For our own texts.
    """

    def __init__(self, hearing: Hearing, translate: Translate) -> None:
        self._hearing = hearing
        self._t = translate
        self._model = ""
        with ui.dialog() as self._dialog, ui.card().classes("fm-dialog fm-dialog-wide"):
            with ui.element("h2"):
                self._title = ui.label()
            self._empty = ui.label(translate("Nothing yet. Warnings, failures and what becomes of it come here."))
            self._empty.classes("fm-muted")
            with ui.element("div").classes("fm-log").props('role=log tabindex="0"'):
                self._list = ui.element("ol")
            ui.label(
                translate(
                    "Lines since the console started, the newest {count}. The services' own logs have them all.",
                    count=_SHOWN,
                )
            ).classes("fm-muted fm-small")
            with ui.element("div").classes("fm-row fm-dialog-buttons"):
                ui.button(translate("Close"), on_click=self._dialog.close).props("flat")
        self._dialog.on("hide", self._leave)
        hearing.line_heard.subscribe(self._hear)

    def open(self, model: str) -> None:
        """Show a model's log."""
        self._model = model
        self._title.set_text(self._t("Log of {model}", model=model))
        self._list.clear()
        lines = self._hearing.lines(model)
        for line in lines:
            self._add(line)
        self._empty.set_visibility(not lines)
        self._dialog.open()

    def _leave(self) -> None:
        self._model = ""
        self._list.clear()

    def _hear(self, line: LogLine) -> None:
        if line.model == self._model:
            self._add(line)
            self._empty.set_visibility(False)
            children = list(self._list)
            for old in children[: max(0, len(children) - _SHOWN)]:
                old.delete()

    def _add(self, line: LogLine) -> None:
        level = {"warning": "warn", "error": "bad", "critical": "bad"}.get(line.level, "")
        with self._list, ui.element("li").classes(f"fm-log-line {level}"):
            ui.label(f"{line.time.ToDatetime(UTC):%H:%M:%S}").classes("fm-muted fm-number")
            ui.label(printable(line.level)).classes("fm-log-level")
            with ui.element("div"):
                ui.label(printable(line.event)).classes("fm-mono")
                if words := log_words(line):
                    ui.label(words).classes("fm-small")
                if line.left_out_count:
                    left_out = self._t("{count} lines before this one were left out", count=line.left_out_count)
                    ui.label(left_out).classes("fm-muted fm-small")


def log_words(line: LogLine) -> str:
    """The facts of a line, with who wrote it."""
    facts = [f"{name}={value}" for name, value in sorted(line.fields.items())]
    return printable("  ".join([f"{line.service} {line.instance}", *facts]))
