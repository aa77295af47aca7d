"""Lake: stored frames by camera, by time and by what was seen in them."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from nicegui import ui
from starlette.datastructures import QueryParams

from console.freshness import caught_up
from console.history import on_back_or_forward
from console.page import Page
from console.parts import ScoreField, empty
from console.pictures import DEAD_LETTERS, THUMBNAILS, add_pictures, name_in
from console.searching import LAKE, MAX_LABEL_LENGTH, Search, search_of, times
from console.texts import marked
from console.texts.messages import in_language
from console.visit import Visit
from framemesh import finding
from framemesh.errors import FramemeshError
from framemesh.finding import Found, Seen
from framemesh.query import LakeTables
from framemesh.rpc.tokens import Role
from framemesh.times import parse_time
from framemesh.words import printable

_PAGE_FRAMES = 24
_READING_SECONDS = 5.0
"""A page that is not full by then says how far back it has looked."""
_FRESH_SECONDS = 2.0
_CHIPS = 3
_BETWEEN = "between"


def tabs(visit: Visit, current: str) -> None:
    """The lake's two halves."""
    _t = visit.translate
    with ui.element("nav").classes("fm-tabs").props(f'aria-label="{_t("Lake")}"'):
        for path, title in ((LAKE, _t("Frames")), (DEAD_LETTERS, _t("Dead letters"))):
            with ui.element("a").props(f'href="{path}"') as link:
                ui.label(title)
            if path == current:
                link.props("aria-current=page")


def utc(time: datetime) -> str:
    """A time for people, as addresses and commands take it, but for the zone."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


async def build(visit: Visit) -> None:
    """The filters, and the newest frames that they leave."""
    tabs(visit, LAKE)
    _Lake(visit).start()


class _Lake:
    """The page while it is open: what is looked for, and what was found."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._t = visit.translate
        self._search = search_of(visit.query)
        self._task: asyncio.Task[None] | None = None
        self._filters = _Filters(visit, self._search, self._look)
        self._found = ui.element("div").classes("fm-stack").props("role=region aria-live=polite")
        self._found.props["aria-label"] = self._t("Frames")
        with self._found:
            _placeholders()
        on_back_or_forward(self._went_back)

    def start(self) -> None:
        """Look for what the address says."""
        self._task = self._visit.run(self._show(), name="lake.search")

    def _look(self, search: Search) -> None:
        ui.navigate.history.push(search.address())
        self._restart(search)

    def _went_back(self, query: QueryParams) -> None:
        search = search_of(query)
        self._filters.fill(search)
        self._restart(search)

    def _restart(self, search: Search) -> None:
        self._search = search
        if self._task is not None:
            self._task.cancel()
        self._found.classes(add="fm-busy")
        with self._found:  # the button that was pressed goes with what it stands among
            self.start()

    async def _show(self) -> None:
        """Find, then put what was found in place of what is there."""
        search = self._search
        try:
            wanted = search.wanted(datetime.now(UTC))
        except ValueError as error:
            with self._instead():
                empty("schedule", self._t("No such time"), in_language(error, self._t))
            return

        def question(tables: LakeTables) -> tuple[list[str], list[str], finding.Page]:
            found = finding.page(tables, wanted, limit=_PAGE_FRAMES, seconds=_READING_SECONDS, before=search.before)
            return tables.cameras, tables.models, found

        fresh = search.before is not None or await caught_up(self._visit.client, seconds=_FRESH_SECONDS)
        try:
            cameras, models, found = await self._visit.mesh.tables.ask(question)
        except FramemeshError as error:
            with self._instead(), empty("cloud_off", self._t("The lake can't be read"), in_language(error, self._t)):
                ui.button(self._t("Try again"), on_click=lambda: self._restart(search))
            return
        self._filters.offer(cameras, models)
        with self._instead():
            self._frames(found, fresh=fresh, any_stored=bool(cameras))

    @contextmanager
    def _instead(self) -> Iterator[None]:
        """The block's elements stand where those found before did."""
        self._found.classes(remove="fm-busy")
        self._found.clear()
        with self._found:
            yield

    def _frames(self, found: finding.Page, *, fresh: bool, any_stored: bool) -> None:
        if not fresh:
            note = self._t("Frames of the last seconds may be missing: no archiver says that it has caught up.")
            ui.label(note).classes("fm-muted fm-small")
        if not found.frames:
            self._nothing(found.reached, any_stored=any_stored)
            return
        with ui.element("ul").classes("fm-frames"):
            for frame in found.frames:
                _card(frame, self._t)
        ui.label(self._t("Times are in UTC.")).classes("fm-muted fm-small")
        older = replace(self._search, before=found.frames[-1].frame_id) if len(found.frames) == _PAGE_FRAMES else None
        with ui.element("div").classes("fm-row fm-spread"):
            if self._search.before is not None:
                newest = replace(self._search, before=None)
                ui.button(self._t("Newest"), icon="first_page", on_click=lambda: self._look(newest)).props("outline")
            if older is not None:
                ui.button(self._t("Older"), on_click=lambda: self._look(older)).props("icon-right=chevron_right")
            elif found.reached is not None:
                self._further(found.reached)
            else:
                ui.label(self._t("These are all.")).classes("fm-muted")

    def _nothing(self, reached: datetime | None, *, any_stored: bool) -> None:
        _t = self._t
        if reached is not None:
            with empty(
                "history", _t("Nothing since {time}", time=utc(reached)), _t("What is older has not been read.")
            ):
                self._further(reached)
        elif not any_stored:
            words = _t("Start a camera: what it sends is here within seconds. `framemesh ingest --help` says how.")
            empty("photo_library", _t("Nothing is stored yet"), words)
        elif self._search.is_narrow or self._search.before:
            words = _t("Look further back, for less of the label, or for a lower score.")
            with empty("search_off", _t("No such frame"), words):
                ui.button(_t("Show all frames"), on_click=self._clear)
        else:
            empty("photo_library", _t("No frame is left"), _t("The lake keeps frames for as long as its operator set."))

    def _clear(self) -> None:
        self._filters.fill(Search())
        self._look(Search())

    def _further(self, reached: datetime) -> None:
        further = replace(self._search, before=finding.all_before(reached))
        ui.button(self._t("Look further back"), icon="history", on_click=lambda: self._look(further))


class _Filters:
    """What may be looked for."""

    def __init__(self, visit: Visit, search: Search, look: Callable[[Search], None]) -> None:
        _t = self._t = visit.translate
        self._look = look
        with ui.element("form").classes("fm-filters").props("role=search novalidate") as form:
            self._cameras = ui.select([], label=_t("Camera"), multiple=True).props("use-chips")
            self._label = ui.input(_t("What was seen")).props(f"clearable maxlength={MAX_LABEL_LENGTH}")
            self._label.props["placeholder"] = _t("cat, car, person ...")
            self._score = ScoreField(_t)
            self._models = ui.select([], label=_t("Model"), multiple=True).props("use-chips")
            self._time = ui.select(
                times(_t) | {_BETWEEN: _t("Between ...")}, label=_t("Taken"), on_change=self._show_times
            )
            self._since = ui.input(_t("From (UTC)")).props("type=datetime-local stack-label")
            self._until = ui.input(_t("Until (UTC)")).props("type=datetime-local stack-label")
            ui.button(_t("Find"), icon="search").props("type=submit")
        form.on("submit", self._submit, js_handler="(event) => { event.preventDefault(); emit(); }")
        self.fill(search)

    def offer(self, cameras: Iterable[str], models: Iterable[str]) -> None:
        """What there is to choose from; what is chosen stays, whether it is there or not."""
        for select, names in ((self._cameras, cameras), (self._models, models)):
            select.set_options(sorted({*names, *(select.value or ())}))

    def fill(self, search: Search) -> None:
        """Show a search."""
        for select, names in ((self._cameras, search.cameras), (self._models, search.models)):
            select.set_options(sorted({*select.options, *names}), value=list(names))
        self._label.value = search.label
        self._score.show(search.min_score)
        self._since.value, self._until.value = (_on_the_clock(text) for text in (search.since, search.until))
        self._time.value = _BETWEEN if search.until or search.since not in self._time.options else search.since
        self._show_times()

    def _show_times(self) -> None:
        between = self._time.value == _BETWEEN
        self._since.set_visibility(between)
        self._until.set_visibility(between)

    def _submit(self) -> None:
        if not self._score.is_sound():
            return
        between = self._time.value == _BETWEEN
        self._look(
            Search(
                cameras=tuple(self._cameras.value or ()),
                since=(self._since.value or "") if between else (self._time.value or ""),
                until=(self._until.value or "") if between else "",
                label=(self._label.value or "").strip(),
                min_score=self._score.value or 0.0,
                models=tuple(self._models.value or ()),
            )
        )


def _on_the_clock(text: str) -> str:
    """A time as its field shows it, in UTC; empty where it is none."""
    try:
        return f"{parse_time(text, now=datetime.now(UTC)).astimezone(UTC):%Y-%m-%dT%H:%M}" if text else ""
    except (ValueError, OverflowError):
        return ""


def _card(frame: Found, _t: Callable[..., str]) -> None:
    with ui.element("li"), ui.element("a").classes("fm-frame") as link:
        link.props["href"] = f"{LAKE}/{frame.frame_id}"
        image = ui.element("img").props("loading=lazy decoding=async width=320 height=180")
        image.props["src"] = f"{THUMBNAILS}/{name_in(frame.object_key)}"
        image.props["alt"] = _in_words(frame, _t)
        with ui.element("div").classes("fm-frame-seen"):
            for seen in _distinct(frame.seen)[:_CHIPS]:
                ui.label(f"{printable(seen.label)} {seen.score:.2f}").classes("fm-seen").tooltip(seen.model)
        with ui.element("div").classes("fm-frame-caption"):
            ui.label(frame.frame_id.camera).classes("fm-strong")
            ui.label(utc(frame.capture_time).removesuffix(" UTC")).classes("fm-muted fm-small fm-number")


def _distinct(seen: Iterable[Seen]) -> list[Seen]:
    """Each label once, where it is surest."""
    found: dict[str, Seen] = {}
    for one in seen:
        found.setdefault(one.label, one)
    return list(found.values())


def _in_words(frame: Found, _t: Callable[..., str]) -> str:
    """What is on a picture, for those who can't see it."""
    seen = ", ".join(f"{printable(one.label)} {one.score:.0%}" for one in _distinct(frame.seen)[:_CHIPS])
    return _t(
        "{camera}, {time}: {seen}",
        camera=frame.frame_id.camera,
        time=utc(frame.capture_time),
        seen=seen or _t("nothing named"),
    )


def _placeholders() -> None:
    with ui.element("ul").classes("fm-frames").props("aria-hidden=true"):
        for _ in range(8):
            with ui.element("li").classes("fm-frame fm-placeholder"):
                ui.element("div").classes("fm-placeholder-picture")


PAGE = Page(LAKE, marked("Lake"), "photo_library", Role.READ, build, serve=add_pictures)
