"""Lake, one frame: what people say that it shows, and what to say it with."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from functools import partial

from nicegui import ui

from console.copy_button import CopyButton
from console.pages.lake import utc
from console.parts import heading
from console.texts.messages import in_language
from console.visit import Visit
from framemesh.corrections import LabelTask, check_label_text, task_of
from framemesh.errors import FramemeshError, InvalidRequestError
from framemesh.frames import FrameId
from framemesh.rpc.tokens import Role
from framemesh.v1.answer_pb2 import (
    Answer,
    AnswerState,
    Classification,
    DetectedObject,
    Detection,
    Label,
    ModelAnswer,
)
from framemesh.v1.correction_pb2 import CorrectedObject, CorrectedObjects, Correction
from framemesh.words import printable

_CHOICES = "fm-labels"
_NAMES = 12
"""Objects that are named; the others are counted."""
_SECONDS = 10.0
"""How long the gateway may take."""


class People:
    """What people say of a frame, and the buttons to say it with for those who may.

    From when it is made it hears what anybody says, so what is read of before then and what is heard miss nothing.

    Args:
        visit: Who looks.
        named: The frame.
    """

    def __init__(self, visit: Visit, named: FrameId) -> None:
        self._visit = visit
        self._named = named
        self._said: dict[LabelTask, Correction] = {}
        self._list: ui.element | None = None
        self._draw: Callable[[Sequence[ModelAnswer]], None] = lambda _: None
        self._may = visit.may(Role.LABEL)
        visit.mesh.hearing.correction_heard.subscribe(self._hear)

    def judge(self, answer: ModelAnswer) -> None:
        """At the current element, the buttons that say of a model's answer whether it is right."""
        if not self._may:
            return
        _t, model, said = self._visit.translate, answer.model, answer.answer
        right: str | CorrectedObjects
        match said.WhichOneof("answer"):
            case "classification" if said.classification.labels:
                right = said.classification.labels[0].name
            case "detection":
                right = _objects(said.detection)
            case _:
                return
        with ui.element("div").classes("fm-row"):
            button = ui.button(_t("Right"), icon="check", on_click=partial(self._correct, right, model))
            button.props("outline").props["aria-label"] = _t("{model} is right", model=model)
            if said.detection.objects:
                nothing = partial(self._correct, CorrectedObjects(), model)
                button = ui.button(_t("No object"), icon="close", on_click=nothing)
                button.props("outline").props["aria-label"] = _t("{model} is wrong: there is no object", model=model)

    def show(
        self,
        said: Iterable[Correction],
        labels: Iterable[str],
        problem: str,
        draw: Callable[[Sequence[ModelAnswer]], None],
    ) -> None:
        """At the current element, what people say, and the form for a class that no model says.

        Args:
            said: What counts of what they said before.
            labels: To choose from; any other can be typed.
            problem: Why it may be another by now, where that is not known.
            draw: Called with it, as an answer for each task, whenever it is another.
        """
        _t = self._visit.translate
        self._draw = draw
        heading(_t("What people say"))
        with ui.element("section").classes("fm-card fm-stack"):
            self._list = ui.element("ul").classes("fm-corrections").props("aria-live=polite")
            self._list.props["aria-label"] = _t("Corrections")
            if problem:
                words = _t("This may not be the newest: {problem}", problem=printable(problem))
                ui.label(words).classes("fm-problem fm-break").props("role=alert")
            if self._may:
                self._form(labels)
            else:
                words = _t("Whoever has a token of role label can correct models here.")
                ui.label(words).classes("fm-muted fm-small")
        for one in said:
            self._take(one)
        self._refresh()

    def _form(self, labels: Iterable[str]) -> None:
        _t = self._visit.translate
        with ui.element("form").classes("fm-row") as form:
            self._label = ui.input(_t("The image shows")).classes("fm-grow")
            self._label.props(f"list={_CHOICES} autocomplete=off")  # one too long is refused, not cut
            with ui.element("datalist").props(f"id={_CHOICES}"):
                for label in dict.fromkeys(labels):
                    ui.element("option").props["value"] = label
            self._save = ui.button(_t("Save correction"), icon="edit").props("type=submit")
        form.on("submit", self._submit, js_handler="(event) => { event.preventDefault(); emit(); }")
        command = f"framemesh correct {self._named} --box car=10,20,110,80"
        with ui.element("div"):
            ui.label(_t("Boxes are corrected at the command line:")).classes("fm-muted fm-small")
            with ui.element("div").classes("fm-row fm-command"):
                ui.label(command).classes("fm-mono fm-break")
                CopyButton(command, _t("Copy the command"), _t)

    async def _submit(self) -> None:
        label = (self._label.value or "").strip()
        try:
            check_label_text(label)
        except InvalidRequestError as error:
            self._label.error = in_language(error, self._visit.translate)
            return
        self._label.error = None
        self._save.props("loading")
        try:
            if await self._correct(label, ""):
                self._label.value = ""
        finally:
            self._save.props(remove="loading")

    async def _correct(self, truth: str | CorrectedObjects, model: str) -> bool:
        """Say what the frame shows; whether it was kept. What was typed stays where it wasn't."""
        client = self._visit.client
        said = await self._visit.attempt(client.correct(str(self._named), truth, model=model, timeout=_SECONDS))
        if said is None:
            return False
        self._hear(said)
        self._visit.notify(self._visit.translate("Kept: {words}", words=self._words(said)), "positive")
        return True

    async def _take_back(self, shown: Correction) -> None:
        """Take back what stands there, unless somebody has said something else meanwhile: that is shown instead."""
        client, attempt, task = self._visit.client, self._visit.attempt, task_of(shown)
        lately = await attempt(client.corrections(frame_id=str(self._named), timeout=_SECONDS))
        if lately is None:
            return
        newer = next((one for one in lately if task_of(one) == task and _is_after(one, shown)), None)
        if newer is not None:
            self._hear(newer)
            words = self._visit.translate("Corrected meanwhile: {words}", words=self._words(newer))
            self._visit.notify(words, "warning")
        elif await attempt(client.remove_correction(str(self._named), task=task, timeout=_SECONDS)) is not None:
            if self._said.get(task) is shown:  # else it has been heard by now, or something newer
                del self._said[task]
                self._refresh()
            if not self._label.is_deleted:
                self._label.run_method("focus")  # the button that had it is gone

    def _hear(self, said: Correction) -> None:
        """Somebody has said something, or taken it back."""
        if said.frame.frame_id == str(self._named) and self._take(said):
            self._refresh()

    def _take(self, said: Correction) -> bool:
        """Whether it is newer than what was said before for its task: then it counts from now on."""
        before = self._said.get(task_of(said))
        if before is not None and not _is_after(said, before):
            return False
        self._said[task_of(said)] = said
        return True

    def _refresh(self) -> None:
        if self._list is None or self._list.is_deleted:  # not yet there, or the page was left
            return
        said = [one for one in self._said.values() if not one.removed]
        self._list.clear()
        with self._list:
            if not said:
                with ui.element("li"):
                    ui.label(self._visit.translate("Nobody has corrected this frame.")).classes("fm-muted")
            for one in said:
                self._entry(one)
        self._draw([self._answer(one) for one in said])

    def _entry(self, said: Correction) -> None:
        _t = self._visit.translate
        words = self._words(said)
        told = [_t("by {author}", author=said.author)] if said.author else []
        told.append(utc(said.correct_time.ToDatetime(UTC)))
        if said.model:
            told.append(_t("about {model}", model=said.model))
        with ui.element("li").classes("fm-row fm-spread"):
            with ui.element("div").classes("fm-grow"):
                ui.label(words).classes("fm-strong fm-break")
                ui.label(" · ".join(told)).classes("fm-muted fm-small fm-break")
            if self._may:
                button = ui.button(_t("Take back"), on_click=partial(self._take_back, said)).props("flat")
                button.props["aria-label"] = _t("Take back {words}", words=words)

    def _words(self, said: Correction) -> str:
        if not said.HasField("objects"):
            return printable(said.label)
        names = [one.label for one in said.objects.objects]
        words = printable(", ".join(names[:_NAMES])) or self._visit.translate("no object")
        if len(names) <= _NAMES:
            return words
        return f"{words}, {self._visit.translate('and {count} more', count=len(names) - _NAMES)}"

    def _answer(self, said: Correction) -> ModelAnswer:
        """What people say, to be drawn as a model's answer is."""
        if said.HasField("objects"):
            found = [DetectedObject(label=Label(name=one.label, score=1), box=one.box) for one in said.objects.objects]
            answer = Answer(detection=Detection(objects=found))
        else:
            answer = Answer(classification=Classification(labels=[Label(name=said.label, score=1)]))
        people = self._visit.translate("people")
        return ModelAnswer(model=people, state=AnswerState.ANSWER_STATE_SUCCEEDED, answer=answer)


async def said_lately(visit: Visit, named: FrameId, *, seconds: float) -> tuple[list[Correction], str]:
    """What counts of what people said of a frame as the gateway knows it; or why that can't be told within a time."""
    try:
        return await visit.client.corrections(frame_id=str(named), timeout=seconds), ""
    except FramemeshError as error:
        return [], visit.words(error)


def _objects(said: Detection) -> CorrectedObjects:
    return CorrectedObjects(objects=[CorrectedObject(label=one.label.name, box=one.box) for one in said.objects])


def _is_after(one: Correction, other: Correction) -> bool:
    return one.correct_time.ToMicroseconds() > other.correct_time.ToMicroseconds()  # as fine as the tables'
