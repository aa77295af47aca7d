"""How NiceGUI's elements look here: calm, flat, in our own colours, which `static/console.css` defines."""

from nicegui import core, ui

_ACCENT = "#0b6e5f"


def set_defaults() -> None:
    """Once, before any page: how elements are made where a page says nothing else."""
    ui.button.default_props("unelevated no-caps")
    ui.input.default_props("outlined dense")
    ui.select.default_props("outlined dense options-dense")
    ui.card.default_classes("fm-card").default_props("flat")
    # What a page waits for it says in its place: a bar along the top at each request would only flicker.
    core.app.config.quasar_config["loadingBar"] = {"skipHijack": True}


def apply() -> None:
    """On each page: the colours that Quasar computes with."""
    ui.colors(
        primary=_ACCENT, secondary="#4a5a86", accent="#8a5a00", positive="#1b7f4b", negative="#b3261e",
        warning="#8a5a00", info="#2f5f9e",
    )  # fmt: skip
