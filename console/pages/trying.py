"""Try: a photo, some models, and what they say of it side by side, with the code that asks the same."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from nicegui import events, ui

from console.answering import answer_in_words, server_time
from console.client_code import Call, snippets
from console.copy_button import CopyButton
from console.page import Page
from console.parts import ScoreField, heading
from console.photo_picker import PhotoPicker
from console.picture import AnsweredPicture
from console.pictures import PICTURES, key_named
from console.texts import marked
from console.visit import Visit
from framemesh.errors import FramemeshError
from framemesh.limits import MAX_LABELS
from framemesh.rpc.status import to_answer_error
from framemesh.rpc.tokens import Role
from framemesh.v1.answer_pb2 import AnswerOptions, AnswerState, ModelAnswer
from framemesh.v1.model_pb2 import Model
from framemesh.words import span

_AT_FIRST = 4
"""How many models are chosen to begin with: each takes its time."""
_SECONDS = 30.0


async def build(visit: Visit) -> None:
    """The photo, the models, the answers."""
    _Trial(visit)


class _Trial:
    """The page while it is open. The photo stays in the browser, which sends it each time that models are asked."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        _t = self._t = visit.translate
        name = visit.query.get("frame", "")
        self._stored_key = key_named(name)
        self._stored_address = f"{PICTURES}/{name}" if self._stored_key else ""
        self._models: list[str] | None = None
        self._chosen: set[str] = set()
        self._asking: asyncio.Task[None] | None = None
        with ui.element("div").classes("fm-try"):
            with ui.element("div").classes("fm-stack"):
                self._picker = PhotoPicker(
                    visit,
                    max_bytes=visit.mesh.max_upload_bytes,
                    stored=self._stored_address,
                    on_photo=self._photo_came,
                    on_refused=self._refuse,
                )
                with ui.element("div").classes("fm-answer-error").props("role=alert") as self._problem:
                    ui.icon("error_outline").props("aria-hidden=true")
                    self._problem_words = ui.label().classes("fm-break")
                self._problem.set_visibility(False)
            self._asked()
        self._answers = ui.element("div").classes("fm-answers").props("role=region aria-live=polite")
        self._answers.props["aria-label"] = _t("Answers")
        self._code = ui.element("section").classes("fm-stack")
        visit.follow(visit.client.watch_models, self._offer)

    def _asked(self) -> None:
        """Who is asked, and for what."""
        _t = self._t
        with ui.element("section").classes("fm-card fm-stack"):
            heading(_t("Models"))
            self._choices = ui.element("div").classes("fm-choices").props("role=group")
            self._choices.props["aria-label"] = _t("Models to ask")
            self._labels = ui.input(_t("What zero-shot models look for"), on_change=self._show_code).props("clearable")
            self._labels.props["placeholder"] = _t("a cat, a red car")
            self._score = ScoreField(_t)
            self._again = ui.button(_t("Ask again"), icon="replay", on_click=self._ask_again)
            self._again.set_enabled(bool(self._stored_key))

    def _offer(self, models: Sequence[Model]) -> None:
        """Show which models there are; what was chosen stays so."""
        names = sorted(model.spec.name for model in models)
        if names == self._models:
            return
        first_time = self._models is None
        self._models = names
        self._chosen = set(names[:_AT_FIRST]) if first_time else self._chosen & set(names)
        self._choices.clear()
        with self._choices:
            for name in names:
                ui.checkbox(name, value=name in self._chosen, on_change=partial(self._choose, name))
            if not names:
                ui.label(self._t("No model is deployed yet: the page Models adds one.")).classes("fm-muted")
        self._show_code()
        if first_time and self._stored_key:
            self._ask_again()

    def _choose(self, name: str, event: events.ValueChangeEventArguments[bool]) -> None:
        (self._chosen.add if event.value else self._chosen.discard)(name)
        self._show_code()

    def _looked_for(self) -> list[str]:
        parts = (part.strip() for part in (self._labels.value or "").split(","))
        return [part for part in parts if part][:MAX_LABELS]

    def _photo_came(self, photo: bytes, preview: str) -> None:
        self._stored_key = None
        self._again.set_enabled(True)
        self._ask(photo, preview)

    def _ask_again(self) -> None:
        if self._stored_key:
            self._ask(None, self._stored_address)
        else:
            self._picker.send_again()

    def _refuse(self, why: str) -> None:
        """Say why a photo was not taken."""
        self._stop()
        self._again.set_enabled(False)
        self._answers.clear()
        self._problem_words.set_text(why)
        self._problem.set_visibility(True)

    def _stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    def _ask(self, photo: bytes | None, source: str) -> None:
        """Ask each model by itself, so that the quick ones don't wait for the slow."""
        self._stop()
        self._problem.set_visibility(False)
        models = [name for name in self._models or () if name in self._chosen]
        self._answers.clear()
        with self._answers:
            if not models:
                ui.label(self._t("Choose a model to ask.")).classes("fm-muted")
                return
            if not self._score.is_sound():
                ui.label(self._t("Nobody was asked: mend the least score, then ask again.")).classes("fm-muted")
                return
            cards = [_Card(name, source, self._visit) for name in models]
            self._asking = self._visit.run(self._each(cards, photo), name="try.ask")

    async def _each(self, cards: Sequence["_Card"], photo: bytes | None) -> None:
        options = AnswerOptions(candidate_labels=self._looked_for(), min_score=self._score.value)

        async def one(card: _Card) -> ModelAnswer:
            began = time.monotonic()
            try:
                response = await self._visit.client.analyze(
                    photo, object_key=self._stored_key, models=[card.model], options=options, timeout=_SECONDS
                )
                answer = response.answers[0]
            except FramemeshError as error:
                failed = AnswerState.ANSWER_STATE_FAILED
                answer = ModelAnswer(model=card.model, state=failed, error=to_answer_error(error))
                answer.error.message = self._visit.words(error)
            card.show(answer, seconds=time.monotonic() - began)
            return answer

        answers = await asyncio.gather(*(one(card) for card in cards))
        said = {f"{answer.error.reason}: {answer.error.message}" for answer in answers}
        if len(answers) > 1 and len(said) == 1 and answers[0].HasField("error"):
            self._refuse(said.pop())  # the photo itself is at fault, or nobody can be asked
            self._again.set_enabled(True)

    def _show_code(self) -> None:
        """The same question from a program."""
        _t, visit = self._t, self._visit
        call = Call(
            visit.mesh.address,
            tls=visit.mesh.tls,
            with_token=visit.caller.token is not None,
            models=sorted(self._chosen),
            labels=self._looked_for(),
        )
        self._code.clear()
        with self._code:
            heading(_t("The same from a program"))
            written = snippets(call)
            with ui.tabs().props("dense align=left no-caps inline-label") as tabs:
                for snippet in written:
                    ui.tab(snippet.title)
            with ui.tab_panels(tabs, value=written[0].title, animated=False).classes("fm-code-panels"):
                for snippet in written:
                    with ui.tab_panel(snippet.title).classes("fm-code"):
                        ui.label(snippet.code).classes("fm-mono").props('tabindex="0"')  # to scroll with keys
                        CopyButton(snippet.code, _t("Copy the code"), _t)
            if call.with_token:
                ui.label(_t("FRAMEMESH_TOKEN holds your token.")).classes("fm-muted fm-small")


class _Card:
    """One model's answer, as soon as it is there."""

    def __init__(self, model: str, source: str, visit: Visit) -> None:
        self.model = model
        self._t = visit.translate
        with ui.element("section").classes("fm-card fm-answer"):
            self._picture = AnsweredPicture(source, [], self._t)
            self._source = source
            with ui.element("div").classes("fm-row fm-spread"):
                heading(model, level=3)
                self._time = ui.label().classes("fm-muted fm-small fm-number")
            with ui.element("div") as self._said:
                ui.label(self._t("Asking ...")).classes("fm-muted")

    def show(self, answer: ModelAnswer, *, seconds: float) -> None:
        """Put the answer in."""
        if answer.HasField("timing"):
            server = span(server_time(answer.timing))
            self._time.set_text(self._t("{server} model, {all} in all", server=server, all=span(seconds)))
            self._picture.show(self._source, [answer])
        self._said.clear()
        with self._said:
            answer_in_words(answer, self._t)


PAGE = Page("/try", marked("Try"), "science", Role.ANALYSE, build)
