"""The websocket of a page that watches: wishes come in, pictures go out.

A message out is the length of its JSON in four bytes, the JSON, then the pictures one after another, whose lengths
`sizes` has. A message in says what to show (`{"camera": null, "models": ["vit"]}`), or how many messages with pictures
have been painted since the last (`{"painted": 1}`): no more than two are under way. A page that says neither is asleep.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from fastapi import FastAPI
from starlette.websockets import WebSocket, WebSocketDisconnect

from console.guard import caller_of
from console.live.hub import Hub
from console.live.status import Heard, status
from console.live.watcher import Update, View, Watcher
from console.mesh import Mesh
from console.pages.models_view import ModelView, model_view
from console.texts import Translate, language_of, translator
from framemesh.client import AsyncClient
from framemesh.errors import FramemeshError
from framemesh.v1.camera_pb2 import Camera
from framemesh.v1.model_pb2 import Model
from framemesh.waiting import Backoff, cancelled

_STATUS_SECONDS = 0.5


def add_stream(app: FastAPI, mesh: Mesh, hub: Hub) -> None:
    """Serve `/live/stream`."""

    @app.websocket("/live/stream")
    async def stream(socket: WebSocket) -> None:
        client = await mesh.client(caller_of(socket).token)
        await socket.accept()
        with hub.watching() as watcher:
            page = _Page(socket, hub, watcher, translator(language_of(socket)))
            tasks = [asyncio.create_task(work) for work in (page.send(), page.receive(), *page.follow(client))]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancelled(*tasks)


class _Page:
    """A page's end of the websocket."""

    def __init__(self, socket: WebSocket, hub: Hub, watcher: Watcher, translate: Translate) -> None:
        self._socket = socket
        self._t = translate
        self._hub = hub
        self._watcher = watcher
        self._told: dict[str, Camera] = {}
        self._models: list[dict[str, Any]] = []

    async def receive(self) -> None:
        """Take wishes until the page is gone; one that says nonsense is gone too."""
        try:
            while True:
                wish = await self._socket.receive_json()
                if not isinstance(wish, dict):
                    return
                if isinstance(painted := wish.get("painted"), int):
                    self._watcher.painted(painted)
                else:
                    self._watcher.want(View.parse(wish))
        except (WebSocketDisconnect, ValueError, KeyError):
            return

    async def send(self) -> None:
        """Send what is new as fast as the page paints it, and twice a second how all cameras are."""
        told = float("-inf")
        while True:
            updates = await self._watcher.take(within=max(0.0, told + _STATUS_SECONDS - time.monotonic()))
            head: dict[str, Any] = {}
            if time.monotonic() >= told + _STATUS_SECONDS:
                told = time.monotonic()
                if self._watcher.awake:
                    head = {"cameras": self._statuses(), "models": self._models}
            if not (head or updates):
                continue
            try:
                await self._socket.send_bytes(packed(head, updates, now_ns=time.time_ns()))
            except (WebSocketDisconnect, RuntimeError):  # it has closed meanwhile
                return

    def follow(self, client: AsyncClient) -> Iterable[Any]:
        """What hears of cameras and of models, with the visitor's own rights."""

        def cameras(told: list[Camera]) -> None:
            self._told = {camera.name: camera for camera in told}

        def models(found: list[Model]) -> None:
            told = [model for model in found if not model.spec.shadow]
            self._models = [self._model(model_view(model)) for model in told]

        return self._keep(client.watch_cameras, cameras), self._keep(client.watch_models, models)

    async def _keep(self, changes: Callable[[], Any], take: Callable[[Any], None]) -> None:
        backoff = Backoff(0.5, 5.0)
        while True:
            try:
                async for change in changes():
                    backoff.reset()
                    take(change)
            except FramemeshError:
                pass  # the page itself follows the same, and says so
            await asyncio.sleep(backoff.next_seconds())

    def _model(self, view: ModelView) -> dict[str, Any]:
        """A model to choose; where it does not serve, `why` says how far it is."""
        serving = view.ready > 0
        return {"model": view.name, "serving": serving, "why": "" if serving else self._t(view.step or view.state)}

    def _statuses(self) -> list[dict[str, Any]]:
        now, frames = time.monotonic(), self._hub.frames
        names = sorted({*frames.cameras(), *self._told})
        return [
            status(name, Heard(frames.fps(name, now), frames.silent_seconds(name, now)), self._told.get(name))
            for name in names
        ]


def packed(head: dict[str, Any], updates: list[Update], *, now_ns: int) -> bytes:
    """A message for the page."""
    pictures: list[bytes] = []
    frames = []
    for update in updates:
        frames.append(
            {
                "camera": update.camera,
                "id": update.frame_id,
                "age_ms": max(0, now_ns - update.captured_ns) // 1_000_000,
                "width": update.picture.width_px,
                "height": update.picture.height_px,
                "parts": 1 + len(update.parts),
                "answers": update.drawings,
            }
        )
        pictures += [update.picture.body, *update.parts]
    text = json.dumps({**head, "frames": frames, "sizes": [len(picture) for picture in pictures]}).encode()
    return b"".join([len(text).to_bytes(4), text, *pictures])
