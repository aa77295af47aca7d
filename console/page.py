"""What a page is, for the frame that shows it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import FastAPI

from console.mesh import Mesh
from console.visit import Visit
from framemesh.rpc.tokens import Role


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the console.

    Attributes:
        path: Its address, such as `/models` or `/lake/{frame_id}`; `/static/models.css` is its own style sheet, where
            there is one.
        title: Its name in the navigation and as its heading, in English, `marked` for translation.
        icon: Name of its Material icon, which NiceGUI brings along.
        role: The least role that sees it.
        build: Makes its elements, inside the frame. It returns within a second: what takes longer goes into
            `visit.run` or `visit.follow`.
        within: Path of the page that it belongs to, whose place in the navigation and whose style sheet it shares.
        serve: Adds what it serves beside itself, such as pictures.
        tells_trouble: Whether it says itself where the mesh does not answer; of the others the frame says it.
    """

    path: str
    title: str
    icon: str
    role: Role
    build: Callable[[Visit], Awaitable[None]]
    within: str = ""
    serve: Callable[[FastAPI, Mesh], None] | None = None
    tells_trouble: bool = False
