"""Lake, dead letters: what could not be processed and why; an operator tries it again."""

from datetime import UTC

from nicegui import ui

from console.page import Page
from console.pages.lake import tabs, utc
from console.parts import Confirmation, empty
from console.pictures import DEAD_LETTERS, THUMBNAILS, add_dead_pictures, name_in
from console.searching import LAKE
from console.texts import marked
from console.texts.messages import in_language
from console.visit import Visit
from framemesh.errors import FramemeshError
from framemesh.rpc.tokens import Role
from framemesh.v1.dead_letter_service_pb2 import DeadLetterFilter, KeptDeadLetter
from framemesh.v1.result_pb2 import DeadLetter
from framemesh.words import printable

_MOST = 100


async def build(visit: Visit) -> None:
    """The filters and the newest dead letters."""
    tabs(visit, DEAD_LETTERS)
    visit.run(_DeadLetters(visit).show(), name="dead-letters")


def _names(letter: DeadLetter) -> dict[str, str]:
    """What letters are chosen by."""
    return {"camera": letter.frame.camera, "model": letter.model, "reason": letter.reason}


class _DeadLetters:
    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        _t = self._t = visit.translate
        self._may_retry = visit.may(Role.ADMIN)
        titles = {"camera": _t("Camera"), "model": _t("Model"), "reason": _t("Reason")}
        with ui.element("div").classes("fm-filters").props("role=search"):
            self._choices = {
                name: ui.select([], label=title, clearable=True, on_change=self.show) for name, title in titles.items()
            }
            ui.button(_t("Refresh"), icon="refresh", on_click=self.show).props("outline")
            self._all = ui.button(_t("Retry all of these"), icon="replay", on_click=self._retry_all)
            self._all.set_visibility(False)
        self._confirm = Confirmation(_t, _t("All that match the choice above, also those not shown."))
        self._list = ui.element("div").classes("fm-stack").props("role=region aria-live=polite")
        self._list.props["aria-label"] = _t("Dead letters")

    async def show(self) -> None:
        """List them anew."""
        wanted = self._filter()
        try:
            letters = await self._visit.client.dead_letters(wanted, limit=_MOST)
        except FramemeshError as error:
            if self._list.is_deleted:  # the page was left
                return
            self._list.clear()
            with self._list, empty("cloud_off", self._t("The gateway does not list them"), self._visit.words(error)):
                ui.button(self._t("Try again"), on_click=self.show)
            return
        if self._filter() != wanted:  # chosen anew meanwhile: that answer comes too
            return
        if self._list.is_deleted:
            return
        for name, select in self._choices.items():  # what was there to choose stays
            found = {_names(kept.dead_letter)[name] for kept in letters} - {""}
            select.set_options(sorted(found.union(select.options)))
        self._all.set_visibility(self._may_retry and len(letters) > 1)
        self._list.clear()
        with self._list:
            self._letters(letters)

    def _filter(self) -> DeadLetterFilter:
        return DeadLetterFilter(**{name: select.value or "" for name, select in self._choices.items()})

    def _letters(self, letters: list[KeptDeadLetter]) -> None:
        _t = self._t
        if not letters:
            if self._filter() != DeadLetterFilter():
                empty("search_off", _t("No such dead letter"), _t("Choose less above to see the others."))
            else:
                words = _t("Frames that can't be stored, or that a model fails on, would be here with the reason.")
                empty("task_alt", _t("No dead letters"), words)
            return
        if not self._may_retry:
            ui.label(_t("An operator can have these tried again.")).classes("fm-muted fm-small")
        with ui.element("ul").classes("fm-letters"):
            for kept in letters:
                self._letter(kept)
        if len(letters) == _MOST:
            ui.label(_t("These are the newest {count}.", count=_MOST)).classes("fm-muted")

    def _letter(self, kept: KeptDeadLetter) -> None:
        _t, letter = self._t, kept.dead_letter
        stored = letter.frame.object_key
        with ui.element("li").classes("fm-card fm-letter") as item:
            if stored or (self._may_retry and letter.reason != "UNREADABLE"):
                image = ui.element("img").props("loading=lazy decoding=async width=160 height=90")
                image.props["src"] = (
                    f"{THUMBNAILS}/{name_in(stored)}" if stored else f"{DEAD_LETTERS}/{kept.number}/thumbnail"
                )
                image.props["alt"] = _t("What {subject} brought", subject=printable(letter.subject))
            else:
                ui.icon("broken_image").classes("fm-letter-icon").props("aria-hidden=true")
            with ui.element("div").classes("fm-letter-words"):
                with ui.element("div").classes("fm-row"):
                    ui.label(printable(letter.reason)).classes("fm-chip bad")
                    ui.label(printable(letter.frame.camera or letter.subject)).classes("fm-strong")
                    if letter.model:
                        ui.label(_t("model {model}", model=letter.model)).classes("fm-muted")
                ui.label(printable(in_language(letter.message, _t))).classes("fm-break")
                when = utc(kept.create_time.ToDatetime(UTC))
                ui.label(_t("number {number}, {time}", number=kept.number, time=when)).classes("fm-muted fm-small")
                said = ui.label().classes("fm-problem").props("role=alert")
            with ui.element("div").classes("fm-letter-do"):
                if stored:
                    with ui.element("a").classes("fm-button quiet") as link:
                        link.props["href"] = f"{LAKE}/{letter.frame.frame_id}"
                        ui.label(_t("Open frame"))
                if self._may_retry:
                    number = kept.number
                    ui.button(_t("Retry"), icon="replay", on_click=lambda: self._retry(number, item, said))

    async def _retry(self, number: int, item: ui.element, said: ui.label) -> None:
        refusal = ""
        try:
            async for tried in self._visit.client.retry_dead_letters(number):
                if tried.HasField("error"):
                    refusal = f"{tried.error.reason}: {tried.error.message}"
        except FramemeshError as error:
            refusal = self._visit.words(error)
        if item.is_deleted:  # listed anew meanwhile, or the page was left
            return
        if refusal:
            said.set_text(printable(refusal))
            return
        item.delete()
        self._visit.notify(self._t("Number {number} is being tried again", number=number), "positive")

    async def _retry_all(self) -> None:
        if not await self._confirm.asked(self._t("Have all of these tried again?"), self._t("Retry all")):
            return
        counts = [0, 0]
        try:
            async for tried in self._visit.client.retry_dead_letters(self._filter()):
                counts[tried.HasField("error")] += 1
        except FramemeshError as error:
            self._visit.notify_error(error)
        words = self._t("{accepted} accepted, {refused} not", accepted=counts[0], refused=counts[1])
        self._visit.notify(words, "warning" if counts[1] else "positive")
        await self.show()


PAGE = Page(DEAD_LETTERS, marked("Dead letters"), "report", Role.READ, build, within=LAKE, serve=add_dead_pictures)
