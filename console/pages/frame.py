"""Lake, one frame: the picture with all that was said of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from functools import partial
from urllib.parse import urlencode

from nicegui import events, ui

from console.answering import answer_in_words, inference_time
from console.copy_button import CopyButton
from console.freshness import caught_up
from console.page import Page
from console.pages.frame_people import People, said_lately
from console.pages.lake import tabs, utc
from console.parts import empty, heading
from console.picture import AnsweredPicture
from console.pictures import PICTURES, frame_id, name_in
from console.searching import LAKE, Search
from console.texts import marked
from console.texts.messages import in_language
from console.visit import Visit
from framemesh import finding
from framemesh.corrections import task_of
from framemesh.errors import FramemeshError
from framemesh.frames import FrameId
from framemesh.query import LakeTables
from framemesh.rpc.tokens import Role
from framemesh.v1.answer_pb2 import ModelAnswer
from framemesh.v1.correction_pb2 import Correction
from framemesh.v1.frame_pb2 import Frame, StoredFrame
from framemesh.v1.result_pb2 import Result
from framemesh.words import short_version, size, span

_FRESH_SECONDS = 4.0


async def build(visit: Visit) -> None:
    """The frame that the address names."""
    _t = visit.translate
    tabs(visit, LAKE)
    named = frame_id(visit.place["frame_id"])
    if named is None:
        words = _t("A frame is called <camera>-<nanoseconds>; the lake's page finds them.")
        with empty("search_off", _t("This is no frame's name"), words):
            _link(LAKE, _t("To the lake"))
        return
    with ui.element("div").classes("fm-one") as place:
        ui.element("div").classes("fm-one-picture fm-placeholder-picture")
    visit.run(_show(visit, named, place), name="lake.frame")


async def _show(visit: Visit, named: FrameId, place: ui.element) -> None:
    _t = visit.translate
    people = People(visit, named)
    try:
        told = await _read(visit, named)
    except FramemeshError as error:
        place.clear()
        with place, empty("cloud_off", _t("The lake can't be read"), in_language(error, _t)):
            _link(f"{LAKE}/{named}", _t("Try again"))
        return
    place.clear()
    with place:
        if told.stored is None:
            words = _t("It was never stored, or its time in the lake is over.")
            with empty("search_off", _t("The lake does not have this frame"), words):
                _link(Search(cameras=(named.camera,)).address(), _t("Other frames of {camera}", camera=named.camera))
            return
        _Frame(visit, told.stored, told, people)


@dataclass(frozen=True, slots=True)
class _Told:
    """What is told of a frame: nothing where the tables don't have it."""

    stored: StoredFrame | None = None
    results: Sequence[Result] = ()
    corrections: Sequence[Correction] = ()
    problem: str = ""
    """Why what counts of the corrections may be another by now."""


async def _read(visit: Visit, named: FrameId) -> _Told:
    """What is said of it. The tables have all, but some seconds late: the gateway has what people said lately.

    Raises:
        FramemeshError: The tables can't be read.
    """

    def question(tables: LakeTables) -> _Told:
        stored = finding.frame(tables, named)
        if stored is None:
            return _Told()
        return _Told(stored, finding.answers(tables, named), finding.corrections(tables, named))

    told, (lately, problem) = await asyncio.gather(
        visit.mesh.tables.ask(question), said_lately(visit, named, seconds=_FRESH_SECONDS)
    )
    # What the gateway does not know is old, or was taken back since.
    unsure = bool({*map(task_of, told.corrections)} - {*map(task_of, lately)}) and not problem
    if told.stored is None or unsure:
        if await caught_up(visit.client, seconds=_FRESH_SECONDS):
            told = await visit.mesh.tables.ask(question)
        elif unsure:
            problem = visit.translate("no archiver says that it has caught up")
    return replace(told, corrections=(*told.corrections, *lately), problem=problem)


class _Frame:
    """The frame on the page."""

    def __init__(self, visit: Visit, stored: StoredFrame, told: _Told, people: People) -> None:
        frame = stored.frame
        self._visit = visit
        self._stored = stored
        self._results = told.results
        self._of_people: Sequence[ModelAnswer] = ()
        self._source = f"{PICTURES}/{name_in(frame.object_key)}"
        self._hidden: set[str] = set()
        with ui.element("div").classes("fm-one-picture fm-stack"):
            self._picture = AnsweredPicture(self._source, [one.answer for one in self._results], self._visit.translate)
            self._actions(frame)
        with ui.element("div").classes("fm-one-facts fm-stack"):
            self._answers(people)
            people.show(told.corrections, self._labels(), told.problem, self._draw_people)
            self._facts(frame)

    def _actions(self, frame: Frame) -> None:
        _t = self._visit.translate
        with ui.element("div").classes("fm-row"):
            _link(f"{self._source}?download", _t("Download"), icon="download").props("download")
            if self._visit.may(Role.ANALYSE):
                _link(f"/try?{urlencode({'frame': name_in(frame.object_key)})}", _t("Ask models again"), icon="science")
            older = Search(cameras=(frame.camera,), before=FrameId.parse(frame.frame_id))
            _link(older.address(), _t("Older of {camera}", camera=frame.camera), icon="history")

    def _answers(self, people: People) -> None:
        _t = self._visit.translate
        heading(_t("What models said"))
        if not self._results:
            ui.label(_t("No model has answered this frame.")).classes("fm-muted")
            return
        for result in self._results:
            answer = result.answer
            with ui.element("section").classes("fm-card fm-said"):
                with ui.element("div").classes("fm-row fm-spread"):
                    with ui.element("label").classes("fm-row fm-said-model"):
                        box = ui.element("input").props("type=checkbox checked")
                        ui.label(answer.model).classes("fm-strong")
                    box.props["aria-label"] = _t("Draw what {model} says", model=answer.model)
                    handler = partial(self._draw, answer.model)
                    box.on("change", handler, js_handler="(event) => emit(event.target.checked)")
                    took = inference_time(answer)
                    if took:
                        ui.label(took).classes("fm-muted fm-small fm-number").tooltip(_t("Running the model"))
                answer_in_words(answer, _t)
                ui.label(self._how(result)).classes("fm-muted fm-small")
                people.judge(answer)

    def _how(self, result: Result) -> str:
        _t = self._visit.translate
        said = [_t("answered after {span}", span=span(result.latency.ToNanoseconds() / 1e9))]
        if result.answer.model_version:
            said.append(_t("version {version}", version=short_version(result.answer.model_version)))
        if result.replayed:
            said.append(_t("by a replay"))
        return " · ".join(said)

    def _draw(self, model: str, event: events.GenericEventArguments) -> None:
        (self._hidden.discard if event.args else self._hidden.add)(model)
        self._redraw()

    def _draw_people(self, answers: Sequence[ModelAnswer]) -> None:
        self._of_people = answers
        self._redraw()

    def _redraw(self) -> None:
        answers = [one.answer for one in self._results if one.answer.model not in self._hidden]
        self._picture.show(self._source, [*answers, *self._of_people])

    def _labels(self) -> list[str]:
        """The classes that models said."""
        said = [one.answer.answer for one in self._results]
        return [label.name for answer in said for label in answer.classification.labels]

    def _facts(self, frame: Frame) -> None:
        _t = self._visit.translate
        number = str(frame.camera_sequence) if frame.HasField("camera_sequence") else ""
        facts = (
            (_t("Camera"), frame.camera, ""),
            (_t("Taken"), utc(frame.capture_time.ToDatetime(UTC)), ""),
            (_t("Stored"), utc(self._stored.store_time.ToDatetime(UTC)), ""),
            (
                _t("Picture"),
                f"{frame.width_px} × {frame.height_px} px, {size(frame.size_bytes)}, {frame.content_type}",
                "",
            ),
            (_t("Number"), number, ""),
            (_t("Frame id"), frame.frame_id, _t("Copy the frame's id")),
            (_t("S3 key"), frame.object_key, _t("Copy the S3 key")),
        )
        with ui.element("section").classes("fm-card fm-stack"):
            heading(_t("The frame"), level=3)
            with ui.element("dl").classes("fm-facts"):
                for name, value, copy in facts:
                    if value:
                        with ui.element("dt"):
                            ui.label(name)
                        with ui.element("dd"):
                            ui.label(value).classes("fm-break")
                            if copy:
                                CopyButton(value, copy, _t)


def _link(address: str, words: str, *, icon: str = "") -> ui.element:
    with ui.element("a").classes("fm-button quiet") as link:
        link.props["href"] = address
        if icon:
            ui.icon(icon).props("aria-hidden=true")
        ui.label(words)
    return link


PAGE = Page(f"{LAKE}/{{frame_id}}", marked("Frame"), "image", Role.READ, build, within=LAKE)
