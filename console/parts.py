"""Parts that pages share."""

from contextlib import suppress

from nicegui import ui

from console.texts import Translate


def heading(text: str, *, level: int = 2) -> None:
    """A heading, which screen readers list; a page has one of level 1, from the frame."""
    with ui.element(f"h{level}"):
        ui.label(text)


def empty(icon: str, title: str, what_to_do: str) -> ui.element:
    """What stands where there is nothing yet: why, and what to do next. Buttons may be put inside."""
    with ui.element("section").classes("fm-empty") as element:
        ui.icon(icon).props("aria-hidden=true")
        ui.label(title).classes("fm-empty-title")
        ui.label(what_to_do).classes("fm-muted")
    return element


class Trouble:
    """The line of a page that says what is wrong with the mesh, while something is: one, however many notice."""

    def __init__(self, translate: Translate) -> None:
        self._translate = translate
        self._problems: dict[object, str] = {}

    def place(self) -> None:
        """Make the line at the current element."""
        with ui.element("div").classes("fm-trouble").props("role=status") as self._line:
            ui.icon("cloud_off").props("aria-hidden=true")
            self._words = ui.label()
        self._line.set_visibility(False)

    def tell(self, who: object, problem: str) -> None:
        """Show what is wrong, as somebody has noticed."""
        self._problems[who] = problem
        self._show()

    def over(self, who: object) -> None:
        """They notice nothing any more."""
        if self._problems.pop(who, None) is not None:
            self._show()

    def _show(self) -> None:
        problem = next(iter(self._problems.values()), None)
        if problem is not None:
            words = self._translate("The mesh does not answer, trying again: {problem}", problem=problem)
            self._words.set_text(words)
        self._line.set_visibility(problem is not None)


class Confirmation:
    """Asks before something is done. One dialog for all of a page, which stays: so focus returns to where it was.

    Args:
        translate: The visitor's language.
        words: What it means.
        color: Of the button that does it, in Quasar's words.
    """

    def __init__(self, translate: Translate, words: str, *, color: str = "primary") -> None:
        with ui.dialog() as self._dialog, ui.card().classes("fm-dialog"):
            with ui.element("h2"):
                self._title = ui.label()
            ui.label(words)
            with ui.element("div").classes("fm-row fm-dialog-buttons"):
                ui.button(translate("Cancel"), on_click=self._dialog.close).props("flat autofocus")
                self._yes = ui.button(on_click=lambda: self._dialog.submit("yes"), color=color)

    async def asked(self, question: str, yes: str) -> bool:
        """Ask; Escape and Cancel mean no, and the other button says what is done."""
        self._title.set_text(question)
        self._yes.set_text(yes)
        return bool(await self._dialog)


def number_field(label: str, *, least: float, most: float, step: float) -> ui.input:
    """A field for a number, which stays as it is written: `ui.number` would put the nearest in place of one beyond.

    The limits are those of its arrows; who reads it says what is wrong with it.
    """
    return ui.input(label).props(f"type=number min={least:g} max={most:g} step={step:g}")


class ScoreField:
    """A field for the least score, from 0 to 1, which says itself what is wrong with what is written.

    It says so once it is asked, not when it is left: words that come then would move the button that is being pressed.
    """

    def __init__(self, translate: Translate) -> None:
        self._t = translate
        self._field = number_field(translate("Least score"), least=0, most=1, step=0.05)

    @property
    def value(self) -> float | None:
        """The score; none where none is written, or one that can't be."""
        with suppress(ValueError):
            score = float(self._field.value or "")
            return score if 0 <= score <= 1 else None
        return None

    def is_sound(self) -> bool:
        """Whether it is empty or holds a score; if not, it says so."""
        sound = not self._field.value or self.value is not None
        self._field.error = None if sound else self._t("Write a score from 0 to 1.")
        return sound

    def show(self, score: float) -> None:
        """Show a score; 0 leaves it empty."""
        self._field.value = f"{score:g}" if score else ""
        self._field.error = None
