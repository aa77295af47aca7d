"""The frame around every page: header, navigation, theme and language."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path

from nicegui import ui
from nicegui.language import Language

from console import theme
from console.page import Page
from console.parts import empty, heading
from console.texts import LANGUAGES
from console.visit import Visit

_QUASARS: dict[str, Language] = {"en": "en-US", "ko": "ko-KR"}
_STATIC = Path(__file__).parent / "static"


@contextmanager
def frame(visit: Visit, page: Page, pages: tuple[Page, ...]) -> Iterator[None]:
    """The frame, with the block's elements as its main part."""
    _t = visit.translate
    theme.apply()
    _speak(visit.language)
    _style_sheets(page)
    ui.page_title(f"{_t(page.title)} · framemesh")
    with ui.header(wrap=False).classes("fm-header"):
        with ui.element("a").props('href="/"').classes("fm-brand"):
            ui.element("img").props('src="/static/icon.svg" alt="" width=28 height=28')
            ui.label("framemesh")
        _navigation(visit, page, pages)
        _tools(visit)
    with ui.element("div").classes("fm-main") as main:  # in NiceGUI's own <main>
        ui.skip_link(_t("Skip to the page"), target=main)
        heading(_t(page.title), level=1)
        visit.trouble.place()
        if not page.tells_trouble:
            visit.follow(visit.mesh.looking(visit.client).pulse, lambda _: None)
        yield


def forbidden(visit: Visit) -> None:
    """What stands on a page that the caller's role does not reach."""
    _t = visit.translate
    empty("lock", _t("This page takes another role"), _t("Ask whoever runs the mesh for a token that may do this."))


def _navigation(visit: Visit, page: Page, pages: tuple[Page, ...]) -> None:
    with ui.element("nav").classes("fm-nav").props(f'aria-label="{visit.translate("Pages")}"'):
        for one in pages:
            if visit.may(one.role) and not one.within:
                current = ' aria-current="page"' if one.path in {page.path, page.within} else ""
                with ui.element("a").props(f'href="{one.path}"{current}'):
                    ui.icon(one.icon).props("aria-hidden=true")
                    ui.label(visit.translate(one.title))


def _tools(visit: Visit) -> None:
    _t = visit.translate
    with ui.element("div").classes("fm-tools"):
        theme_button = ui.button(icon="contrast").props(f'flat round aria-label="{_t("Dark or light")}"')
        theme_button.on("click", js_handler="() => framemesh.toggleTheme()")
        with ui.button(icon="translate").props(f'flat round aria-label="{_t("Language")}"'), ui.menu():
            for code, name in LANGUAGES.items():
                item = ui.menu_item(name).props(f'lang="{code}"')
                item.on("click", js_handler=f"() => framemesh.setLanguage('{code}')")
        if visit.caller.session:
            _account(visit)


def _account(visit: Visit) -> None:
    _t = visit.translate
    with ui.button(icon="person").props(f'flat round aria-label="{_t("Account")}"'), ui.menu():
        ui.label(_t("{name}: {role}", name=visit.caller.name, role=visit.caller.role.name.lower())).classes(
            "fm-account"
        )
        with ui.element("form").props('method="post" action="/logout"'), ui.element("button").props("type=submit"):
            ui.label(_t("Log out"))


def _speak(language: str) -> None:
    """Say to the browser, and to Quasar's own parts, which language this page is in."""
    client = ui.context.client
    client.page = copy(client.page)  # which is the same for all visitors
    client.page.language = _QUASARS[language]


def _style_sheets(page: Page) -> None:
    ui.add_head_html('<script src="/static/frame.js"></script><link rel="stylesheet" href="/static/console.css">')
    own = f"{(page.within or page.path).strip('/') or 'live'}.css"
    if (_STATIC / own).exists():
        ui.add_head_html(f'<link rel="stylesheet" href="/static/{own}">')
