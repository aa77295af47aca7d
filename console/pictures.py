"""Stored frames as pictures: `/lake/pictures/<frame_id>.jpg` as the camera sent it, `/lake/thumbnails/...` small.

A frame's id names its bytes for good, so browsers keep what they have seen. Only frames can be named, never another
object of the lake: the key is made of the id, and of nothing else that the address says.
"""

import asyncio
from pathlib import Path
from typing import Annotated, Final

from fastapi import FastAPI
from fastapi import Path as Parameter
from starlette.requests import Request
from starlette.responses import Response

from console.guard import caller_of
from console.mesh import Mesh
from framemesh.errors import (
    DeadLetterNotFoundError,
    FramemeshError,
    FrameNotFoundError,
    ImageTooLargeError,
    InvalidImageError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from framemesh.frames import FrameId, frame_id_of, hour_prefix
from framemesh.lake import Lake
from framemesh.names import is_label
from framemesh.thumbnails import thumbnail

PICTURES: Final = "/lake/pictures"
THUMBNAILS: Final = "/lake/thumbnails"
DEAD_LETTERS: Final = "/lake/dead-letters"

_Number = Annotated[int, Parameter(ge=0, lt=1 << 64)]
_FOR_GOOD = {"Cache-Control": "private, max-age=31536000, immutable"}
_NOT_KEPT = {"Cache-Control": "no-store"}
_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_STATUSES: dict[type[FramemeshError], int] = {
    DeadLetterNotFoundError: 404,
    FrameNotFoundError: 404,
    ImageTooLargeError: 415,
    InvalidImageError: 415,
    PermissionDeniedError: 403,
    UnauthenticatedError: 401,
}
_WIDTH_PX = 480
"""Of small pictures: sharp on a card 240 px wide on a phone's or a new laptop's screen."""
_decoding = asyncio.Semaphore(2)
"""For how many at once, whoever asks."""
_MISSING = (Path(__file__).parent / "static" / "missing.svg").read_bytes()
"""What a browser shows in the picture's place: it draws the body of a 404 too."""


def frame_id(text: str) -> FrameId | None:
    """The frame that an address names; none where it names none."""
    found = FrameId.parse(text)
    return found if found and str(found) == text and is_label(found.camera) else None


def key_named(name: str) -> str | None:
    """Key of the frame that the last part of an address names, such as `gate-1790000000000000000.jpg`."""
    stem, _, extension = name.rpartition(".")
    found = frame_id(stem)
    if found is None or extension not in _TYPES:
        return None
    key = f"{hour_prefix(found)}{name}"
    return key if frame_id_of(key) == found else None


def name_in(object_key: str) -> str:
    """The last part of a frame's key, for its addresses."""
    return object_key.rpartition("/")[2]


def add_pictures(app: FastAPI, mesh: Mesh) -> None:
    """Serve the pictures of the lake's frames."""
    frames = mesh.frames

    @app.get(f"{PICTURES}/{{name}}")
    async def picture(name: str, request: Request) -> Response:
        try:
            body = await _body(frames, name)
        except FramemeshError as error:
            return _refusal(error)
        kept = {"Content-Disposition": f'attachment; filename="{name}"'} if "download" in request.query_params else {}
        return Response(body, media_type=_TYPES[name.rpartition(".")[2]], headers={**_FOR_GOOD, **kept})

    @app.get(f"{THUMBNAILS}/{{name}}")
    async def small(name: str) -> Response:
        try:
            made = await _small(await _body(frames, name))
        except FramemeshError as error:
            return _refusal(error)
        return Response(made, media_type="image/jpeg", headers=_FOR_GOOD)


def add_dead_pictures(app: FastAPI, mesh: Mesh) -> None:
    """Serve small pictures of dead letters' bodies, to whom the gateway gives them."""

    @app.get(f"{DEAD_LETTERS}/{{number}}/thumbnail")
    async def small(number: _Number, request: Request) -> Response:
        try:
            client = await mesh.client(caller_of(request).token)
            kept = await client.dead_letter(number)
            made = await _small(kept.dead_letter.body)
        except FramemeshError as error:
            return _refusal(error)
        return Response(made, media_type="image/jpeg", headers=_NOT_KEPT)


async def _small(body: bytes) -> bytes:
    async with _decoding:
        return await asyncio.to_thread(thumbnail, body, width_px=_WIDTH_PX, height_px=2 * _WIDTH_PX)


async def _body(frames: Lake, name: str) -> bytes:
    key = key_named(name)
    if key is None:
        raise FrameNotFoundError("no frame has such a name")
    body, _ = await frames.get(key)
    return body


def _refusal(error: FramemeshError) -> Response:
    status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 503)
    return Response(_MISSING, status, media_type="image/svg+xml", headers=_NOT_KEPT)
