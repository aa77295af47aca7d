"""Pages whose address says what they show, and which change both in place."""

from collections.abc import Callable

from nicegui import ui
from starlette.datastructures import QueryParams

_SCRIPT = "<script>addEventListener('popstate', () => emitEvent('address', location.search))</script>"


def on_back_or_forward(show: Callable[[QueryParams], None]) -> None:
    """Have what stands behind the `?` shown whenever the visitor goes back or forward within the page."""
    ui.add_body_html(_SCRIPT)
    ui.on("address", lambda event: show(QueryParams(str(event.args).removeprefix("?"))))
