"""The live page, in a real browser on a real mesh."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from io import BytesIO

import pytest
from PIL import Image
from playwright.async_api import Locator, Page, expect

from framemesh.frames import FrameId, headers, subject
from framemesh.v1.answer_pb2 import Answer, AnswerState, Depth, Mask, ModelAnswer, Segment, Segmentation, Text
from framemesh.v1.answer_pb2 import Label as LabelMessage
from tests.console.conftest import MODEL, Mesh, Shoot
from tests.console.live import HEIGHT, WIDTH, boxes, camera, photo, plain, say
from tests.gateway.conftest import publish, until


def tile(page: Page, name: str) -> Locator:
    """A camera's place on the page."""
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name, exact=True))


async def pixels(page: Page, name: str) -> Image.Image:
    """What is painted of a camera, scaled to the frame's own pixels."""
    url = await tile(page, name).locator("canvas").evaluate("canvas => canvas.toDataURL('image/png')")
    image = Image.open(BytesIO(__import__("base64").b64decode(url.partition(",")[2])))
    return image.convert("RGB").resize((WIDTH, HEIGHT))


def coloured(image: Image.Image, x: int, y: int) -> bool:
    """Whether something is drawn there: the frame itself is grey."""
    red, green, blue = image.getpixel((x, y))
    return max(red, green, blue) - min(red, green, blue) > 40


async def test_a_box_is_drawn_where_the_model_says(page: Page, mesh: Mesh) -> None:
    said = boxes("finder", ("cat", 0.9, (160, 90, 480, 270)))
    async with camera(mesh.bus, "gate", plain(), answer=lambda _: [said]):
        await page.goto("/?models=finder")
        await expect(tile(page, "gate")).to_have_attribute("data-answers", "finder:0")
        image = await pixels(page, "gate")
    edges = [(160, 180), (480, 180), (320, 90), (320, 270)]
    assert all(coloured(image, x, y) for x, y in edges)
    inside_and_outside = [(320, 180), (100, 180), (540, 180), (320, 40), (200, 230)]
    assert not any(coloured(image, x, y) for x, y in inside_and_outside)
