"""Live: every camera's newest frame, with what models say of it."""

from nicegui import ui

from console.page import Page
from console.parts import empty
from console.texts import marked
from console.visit import Visit
from framemesh.rpc.tokens import Role
from framemesh.v1.camera_pb2 import Camera


async def build(visit: Visit) -> None:
    """The grid of cameras."""
    _t = visit.translate

    @ui.refreshable
    def grid(cameras: list[Camera]) -> None:
        if not cameras:
            empty("videocam_off", _t("No camera sends frames yet"), _t("Start one with `framemesh ingest`."))
        with ui.element("ul").classes("fm-grid"):
            for camera in cameras:
                with ui.element("li").classes("fm-card"):
                    ui.label(camera.name)
                    ui.label(_t("{fps} frames/s", fps=f"{camera.published_fps:.1f}")).classes("fm-muted")

    grid([])
    visit.follow(visit.client.watch_cameras, grid.refresh)


PAGE = Page("/", marked("Live"), "videocam", Role.READ, build)
