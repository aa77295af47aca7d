"""Two models compared in a browser."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Page, expect

from console.texts import COOKIE
from framemesh.frames import FrameId
from tests.console import lakeside
from tests.console.conftest import Mesh, Shoot
from tests.gateway.conftest import until

LABELS = {
    "chelsea.png": ("Egyptian cat", "tabby"),
    "coffee.png": ("espresso", "espresso"),
    "rocket.jpg": ("missile", "missile"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def frames(mesh: Mesh, photos: Path) -> AsyncIterator[list[FrameId]]:
    """Two cameras' frames on which two models agree, but for the cats at the gate; a third gives boxes."""
    before, taken = len(mesh.model.seen), []
    async with lakeside.archiving(mesh):
        for number in range(9):
            name = list(LABELS)[number % len(LABELS)]
            jpeg = lakeside.photo(photos / name)
            for camera in ("compare-gate", "compare-yard"):
                frame = await lakeside.take(mesh, camera, 60 * number, jpeg)
                a, b = LABELS[name] if camera == "compare-gate" else LABELS[name][:1] * 2
                await lakeside.say(mesh, "old", frame, lakeside.seen((a, 0.8), ("dog", 0.1)), milliseconds=20)
                await lakeside.say(mesh, "new", frame, lakeside.seen((b, 0.9), ("dog", 0.05)), milliseconds=35)
                await lakeside.say(mesh, "finder", frame, lakeside.boxed((a, 0.8, (0.0, 0.0, 9.0, 9.0))))
                taken.append(frame)
        await until(lambda: len(mesh.model.seen) >= before + len(taken), seconds=60)
        await lakeside.archived(mesh)
        yield taken


async def test_two_models_are_compared_in_figures_and_pictures(page: Page, frames: list[FrameId], shoot: Shoot) -> None:
    await page.goto("/compare?since=")
    await expect(page.get_by_text("Choose two models")).to_be_visible()
    for label, model in (("Model A", "old"), ("Model B", "new")):
        await page.get_by_label(label).click()
        await page.get_by_role("option", name=model, exact=True).click()
        await expect(page.get_by_role("option")).to_have_count(0)  # the list has gone, and hides no other
    await page.get_by_role("button", name="Compare").click()
    found = page.get_by_role("region", name="Comparison")
    await expect(found).to_contain_text("83.3%")
    await expect(page).to_have_url("/compare?a=old&b=new&since=")
    await expect(found.get_by_role("row", name="Latency, p50 and p99")).to_contain_text("35 ms")
    await expect(found.get_by_role("listitem").filter(has_text="compare-gate").first).to_contain_text(
        "66.7% of 9 frames"
    )
    apart = found.get_by_role("link")
    await expect(apart).to_have_count(3)
    picture = apart.first.get_by_role("img", name="old says Egyptian cat, new says tabby")
    await expect(picture).to_be_visible()
    await shoot(page, "compare")
    await apart.first.click()
    await expect(page.get_by_role("heading", name="What models said")).to_be_visible()


async def test_what_can_not_be_compared_says_why(page: Page, frames: list[FrameId]) -> None:
    await page.goto("/compare?a=old&b=nobody&since=")
    await expect(page.get_by_text("This can't be compared")).to_be_visible()
    await expect(page.get_by_role("region", name="Comparison")).to_contain_text("nobody")
    await page.context.add_cookies([{"name": COOKIE, "value": "ko", "url": page.url}])
    for asked, told in (
        ("a=old&b=old", "같은 모델끼리는 비교할 수 없습니다"),
        ("a=old&b=nobody&since=", "답이 있는 모델: "),
        ("a=old&b=new&since=1m", "두 모델이 모두 답한 프레임이 없습니다(old: 0개, new: 0개)"),
        ("a=old&b=finder&since=", "같은 작업을 하는 모델만 비교할 수 있습니다"),
        ("a=old&b=echo&since=", "B만 답한 프레임"),
        ("a=old&b=new&since=soon", "'soon': 시각이 아닙니다"),
    ):
        await page.goto(f"/compare?{asked}")
        await expect(page.get_by_role("region", name="비교")).to_contain_text(told)
