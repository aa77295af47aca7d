"""Live: every camera's newest frame, with what models say of it."""

from typing import Any

from nicegui import ui
from nicegui.element import Element

from console.page import Page
from console.parts import empty
from console.picture import words_of_drawings
from console.texts import Translate, marked
from console.visit import Visit
from framemesh.rpc.tokens import Role
from framemesh.v1.camera_pb2 import Camera
from framemesh.v1.model_pb2 import Model

_DEMO = "/models?model=demo:efficientnet-lite0"


class LiveCameras(Element, component="../static/live.js"):
    """The cameras, kept up to date by `static/live.js` over a websocket of its own."""

    def __init__(self, texts: dict[str, Any], first: dict[str, Any]) -> None:
        super().__init__()
        self._props["texts"] = texts
        self._props["first"] = first


async def build(visit: Visit) -> None:
    """The grid of cameras, or one of them large; and, where nothing is there yet, what to do."""
    _t = visit.translate
    _no_models(visit)
    _no_cameras(visit)
    models = visit.query.get("models")
    first = {
        "camera": visit.query.get("camera") or None,
        "models": [name for name in (models or "").split(",") if name],
        "decided": models is not None,
        "split": visit.query.get("split") == "1",
    }
    LiveCameras(_texts(_t), first)


def _no_models(visit: Visit) -> None:
    _t = visit.translate
    with empty(
        "model_training", _t("No model answers yet"), _t("Name one, and it says what your cameras see.")
    ) as hint:
        if visit.may(Role.ADMIN):
            with ui.element("div").classes("fm-row"):
                _link(_t("Try the demo model"), _DEMO, "fm-button")
                _link(_t("Name a model"), "/models", "fm-button quiet")
        else:
            ui.label(_t("That takes the role admin.")).classes("fm-muted")
    hint.set_visibility(False)

    def show(models: list[Model]) -> None:
        hint.set_visibility(not models)

    visit.follow(visit.client.watch_models, show)


def _no_cameras(visit: Visit) -> None:
    _t = visit.translate
    what_to_do = _t("Start one with `framemesh ingest`, or publish JPEG frames to the NATS subject frames.NAME.")
    hint = empty("videocam_off", _t("No camera sends frames yet"), what_to_do).classes("fm-no-cameras")
    hint.set_visibility(False)

    def show(cameras: list[Camera]) -> None:
        hint.set_visibility(not cameras)

    visit.follow(visit.client.watch_cameras, show)


def _link(text: str, target: str, classes: str) -> None:
    with ui.element("a").props(f'href="{target}"').classes(classes):
        ui.label(text)


def _texts(translate: Translate) -> dict[str, Any]:
    _t = translate
    return {
        **words_of_drawings(_t),
        "all": _t("All cameras"),
        "models": _t("Models whose answers are shown"),
        "split": _t("Side by side"),
        "not_deployed": _t("not deployed"),
        "no_answer": _t("no answer yet"),
        "unheard": _t("No camera {camera} has sent anything"),
        "unheard_advice": _t("It may be off, or have another name by now. It is shown as soon as it sends."),
        "open": _t("Show {camera} large"),
        "fps": _t("{fps} frames/s"),
        "age": _t("{age} old"),
        "lost": _t("The console does not answer, trying again"),
        "states": {
            "live": _t("Live"),
            "away": _t("Away"),
            "starting": _t("Starting"),
            "stalled": _t("Stalled"),
            "lost": _t("Lost"),
            "refused": _t("Refused"),
            "waiting": _t("Waiting to send"),
        },
    }


PAGE = Page("/", marked("Live"), "videocam", Role.READ, build)
