"""The lake in a browser: frames found, looked at and taken home; dead letters tried again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Page, expect

from framemesh.frames import FrameId
from tests.console import lakeside
from tests.console.conftest import Mesh, Shoot

HOSTILE = "<script>window.hacked = 1</script>"
SIGHTS = {
    "chelsea.png": ("Egyptian cat", 0.77, (120.0, 20.0, 520.0, 350.0)),
    "coffee.png": ("espresso", 0.9, (150.0, 60.0, 450.0, 320.0)),
    "astronaut.png": ("person", 0.98, (110.0, 10.0, 520.0, 350.0)),
    "rocket.jpg": (HOSTILE, 0.6, (280.0, 30.0, 380.0, 330.0)),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def frames(mesh: Mesh, photos: Path) -> AsyncIterator[list[FrameId]]:
    """Forty frames of two cameras, with what two models said of them."""
    taken = []
    async with lakeside.archiving(mesh):
        for number in range(20):
            name = list(SIGHTS)[number % len(SIGHTS)]
            jpeg = lakeside.photo(photos / name)
            label, score, box = SIGHTS[name]
            for camera in ("gate", "yard"):
                frame = await lakeside.take(mesh, camera, number, jpeg)
                await lakeside.say(mesh, "detr", frame, lakeside.boxed((label, score, box)))
                await lakeside.say(mesh, "lite0", frame, lakeside.seen((label, score - 0.2), ("tabby", 0.1)))
                taken.append(frame)
        await lakeside.stored(mesh, taken)
        await lakeside.archived(mesh)
        yield taken


async def test_a_frame_is_found_by_what_was_seen_in_it(page: Page, frames: list[FrameId], shoot: Shoot) -> None:
    await page.goto("/lake")
    cards = page.get_by_role("region", name="Frames").get_by_role("link")
    await expect(cards).to_have_count(24)
    await shoot(page, "lake")
    await page.get_by_label("What was seen").fill("espresso")
    await page.get_by_label("What was seen").press("Enter")
    await expect(cards).to_have_count(10)
    await expect(page).to_have_url("/lake?label=espresso")
    assert "espresso 90%" in str(await cards.first.get_by_role("img").get_attribute("alt"))
    await page.go_back()
    await expect(cards).to_have_count(24)


async def test_a_frame_shows_all_that_was_said_of_it(page: Page, frames: list[FrameId], shoot: Shoot) -> None:
    await page.goto(f"/lake/{frames[0]}")
    await expect(page.get_by_role("heading", name="What models said")).to_be_visible()
    await expect(page.get_by_role("img", name="Egyptian cat")).to_be_visible()
    await shoot(page, "lake-frame")
