"""What a browser sees at an address where there is nothing."""

from nicegui import ui

from console.page import Page
from console.parts import empty
from console.texts import marked
from console.visit import Visit
from framemesh.rpc.tokens import Role


async def build(visit: Visit) -> None:
    """That there is nothing, and the way home."""
    _t = visit.translate
    words = _t("Its address may be mistyped, or the link to it old.")
    with (
        empty("explore_off", _t("There is nothing here"), words),
        ui.element("a").props('href="/"').classes("fm-button"),
    ):
        ui.label(_t("To the cameras"))


PAGE = Page("/not-found", marked("No such page"), "explore_off", Role.READ, build)
"""In place of pages that are not there: it has no address of its own."""
