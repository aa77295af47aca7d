"""The lake in a browser: frames found, looked at and taken home; dead letters tried again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from framemesh.errors import InternalError
from framemesh.frames import FrameId
from tests.console import lakeside
from tests.console.conftest import MODEL, Mesh, Shoot
from tests.gateway.conftest import until
from tests.pictures import jpeg

HOSTILE = "<script>window.hacked = 1</script>"
SIGHTS = {
    "chelsea.png": ("Egyptian cat", 0.77, (120.0, 20.0, 520.0, 350.0)),
    "coffee.png": ("espresso", 0.9, (150.0, 60.0, 450.0, 320.0)),
    "astronaut.png": ("person", 0.98, (110.0, 10.0, 520.0, 350.0)),
    "rocket.jpg": (HOSTILE, 0.6, (280.0, 30.0, 380.0, 330.0)),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def frames(mesh: Mesh, photos: Path) -> AsyncIterator[list[FrameId]]:
    """Forty frames of two cameras, with what two models said of them; each fourth is the same photo."""
    taken = []
    jpegs = {name: lakeside.photo(photos / name) for name in SIGHTS}
    before = len(mesh.model.seen)
    async with lakeside.archiving(mesh):
        for number in range(20):
            name = list(SIGHTS)[number % len(SIGHTS)]
            label, score, box = SIGHTS[name]
            for camera in ("lake-gate", "lake-yard"):
                frame = await lakeside.take(mesh, camera, number, jpegs[name])
                await lakeside.say(mesh, "detr", frame, lakeside.boxed((label, score, box)))
                await lakeside.say(mesh, "lite0", frame, lakeside.seen((label, score - 0.2), ("tabby", 0.1)))
                taken.append(frame)
        await until(lambda: len(mesh.model.seen) >= before + len(taken), seconds=60)
        await lakeside.archived(mesh)
        yield taken


def cards(page: Page) -> Locator:
    return page.get_by_role("region", name="Frames").get_by_role("link")


async def test_a_frame_is_found_by_what_was_seen_in_it(page: Page, frames: list[FrameId], shoot: Shoot) -> None:
    cameras = "camera=lake-gate&camera=lake-yard"  # other tests' frames are there too
    await page.goto(f"/lake?{cameras}&until=2026-09-22")
    await expect(cards(page)).to_have_count(24)
    await shoot(page, "lake")
    await page.get_by_label("What was seen").fill("ESPRESSO")
    await page.get_by_label("What was seen").press("Enter")
    await expect(cards(page)).to_have_count(10)
    await expect(page).to_have_url(f"/lake?{cameras}&until=2026-09-22T00%3A00&label=ESPRESSO")
    assert "espresso 90%" in str(await cards(page).first.get_by_role("img").get_attribute("alt"))
    score = page.get_by_label("Least score")
    await score.fill("7")
    await score.press("Enter")
    await expect(page.get_by_role("search")).to_contain_text("Write a score from 0 to 1.")
    await expect(score).to_have_value("7")
    await expect(page).to_have_url(f"/lake?{cameras}&until=2026-09-22T00%3A00&label=ESPRESSO")
    await score.fill("0.8")
    await score.press("Enter")
    await expect(page).to_have_url(f"/lake?{cameras}&until=2026-09-22T00%3A00&label=ESPRESSO&min_score=0.8")
    await expect(cards(page)).to_have_count(10)
    await page.go_back()
    await expect(score).to_have_value("")
    await page.go_back()
    await expect(cards(page)).to_have_count(24)
    await expect(page.get_by_label("What was seen")).to_have_value("")
    await page.goto("/lake?label=zebra")
    await expect(page.get_by_text("No such frame")).to_be_visible()
    await shoot(page, "lake-nothing")
    await page.get_by_role("button", name="Show all frames").click()
    await expect(cards(page)).to_have_count(24)


async def test_older_frames_come_page_by_page_and_an_address_can_be_shared(page: Page, frames: list[FrameId]) -> None:
    await page.goto("/lake?camera=lake-gate&camera=lake-yard")
    await expect(cards(page)).to_have_count(24)
    await page.get_by_role("button", name="Older").click()
    await expect(cards(page)).to_have_count(16)
    await expect(page.get_by_text("These are all.")).to_be_visible()
    await page.reload()
    await expect(cards(page)).to_have_count(16)
    await page.get_by_role("button", name="Newest").click()
    await expect(cards(page)).to_have_count(24)


async def test_a_label_of_markup_stays_a_text(page: Page, frames: list[FrameId]) -> None:
    await page.goto("/lake?camera=lake-gate&camera=lake-yard&label=%3Cscript%3E")  # others have such labels too
    await expect(cards(page)).to_have_count(10)
    await expect(cards(page).first).to_contain_text(HOSTILE)
    await cards(page).first.click()
    await expect(page.get_by_role("heading", name="What models said")).to_be_visible()
    await expect(page.get_by_text(HOSTILE).first).to_be_visible()
    assert await page.evaluate("window.hacked") is None


async def test_a_frame_shows_what_was_said_of_it_and_is_downloaded_byte_for_byte(
    page: Page, frames: list[FrameId], photos: Path, shoot: Shoot
) -> None:
    await page.goto(f"/lake/{frames[0]}")
    picture = page.get_by_role("img", name="detr: Egyptian cat")
    await expect(picture).to_be_visible()
    await shoot(page, "lake-frame")
    drawn = await on_the_edge(picture)
    await page.get_by_role("checkbox", name="Draw what detr says").uncheck()
    await expect(page.get_by_role("img", name="lite0: Egyptian cat")).to_be_visible()
    await expect(picture).to_have_count(0)
    bare = await on_the_edge(page.get_by_role("img", name="lite0: Egyptian cat"))
    assert sum(abs(one - other) for one, other in zip(drawn, bare, strict=True)) > 60
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="Download").click()
    download = await downloading.value
    assert download.suggested_filename == f"{frames[0]}.jpg"
    assert Path(await download.path()).read_bytes() == lakeside.photo(photos / "chelsea.png")
    thumbnail = await page.request.get(f"/lake/thumbnails/{frames[0]}.jpg")
    assert thumbnail.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert len(await thumbnail.body()) < 40_000


async def on_the_edge(picture: Locator) -> list[int]:
    """Red, green and blue where the cat's box has its left edge."""
    return list(
        await picture.evaluate(
            """canvas => {
                const scale = canvas.width / 640;
                return [...canvas.getContext("2d").getImageData(120 * scale, 185 * scale, 1, 1).data].slice(0, 3);
            }"""
        )
    )


FORGED = (
    "..%2F..%2Fmodels%2Flite0%2F1%2Fmanifest.json",
    "%2e%2e/models/manifest.json",
    "lake-gate-1789999200000000000.json",
    "lake-gate-01789999200000000000.jpg",
    "..-1789999200000000000.jpg",
    "a%2Fb-1789999200000000000.jpg",
    "lake-gate-1789999200000000001.jpg",
)


async def test_nothing_but_frames_can_be_fetched_and_by_nobody_who_has_not_logged_in(
    page: Page, browser: Browser, console_url: str, frames: list[FrameId]
) -> None:
    stranger = await browser.new_context(base_url=console_url)
    for folder in ("pictures", "thumbnails"):
        for name in FORGED:
            answer = await page.request.get(f"/lake/{folder}/{name}")
            assert answer.status == 404, name
        frame = f"/lake/{folder}/{frames[0]}.jpg"
        assert (await page.request.get(frame)).status == 200
        assert (await stranger.request.get(frame)).status == 401
    await stranger.close()


async def test_what_an_address_says_wrong_is_told(page: Page, frames: list[FrameId]) -> None:
    await page.goto("/lake/lake-gate-1789999200000000001")
    await expect(page.get_by_text("The lake does not have this frame")).to_be_visible()
    await page.goto("/lake/manifest.json")
    await expect(page.get_by_text("This is no frame's name")).to_be_visible()
    await page.goto("/lake?since=yesterday")
    await expect(page.get_by_text("write how long ago")).to_be_visible()
    await page.goto("/lake?since=2h&until=5h")
    await expect(page.get_by_text("The end is before the beginning")).to_be_visible()


async def test_a_dead_letter_is_tried_again_by_an_operator(page: Page, mesh: Mesh, shoot: Shoot) -> None:
    mesh.model.fails = lambda body: InternalError("out of cheese") if body == jpeg(77) else None
    broken = await lakeside.take(mesh, "lake-dead", 0, b"no picture at all " + HOSTILE.encode())
    failed = await lakeside.take(mesh, "lake-dead", 1, jpeg(77))

    async def both_dead() -> bool:
        letters = await mesh.client.dead_letters()
        return {str(broken), str(failed)} <= {kept.dead_letter.frame.frame_id for kept in letters}

    await until(both_dead, seconds=60)
    await page.goto("/lake/dead-letters")
    letters = page.get_by_role("region", name="Dead letters").get_by_role("listitem")
    of_model = letters.filter(has_text=f"model {MODEL}")
    refused = letters.filter(has_text="INVALID_IMAGE").filter(has_text="lake-dead")
    await expect(of_model).to_have_count(1)
    await expect(refused).to_have_count(1)
    await shoot(page, "lake-dead-letters")
    mesh.model.fails = lambda _: None
    seen = len(mesh.model.seen)
    await of_model.get_by_role("button", name="Retry").click()
    await expect(page.get_by_text("is being tried again").first).to_be_visible()
    await expect(of_model).to_have_count(0)
    await until(lambda: len(mesh.model.seen) > seen, seconds=60)
    await page.reload()
    await expect(refused).to_have_count(1)
    await expect(of_model).to_have_count(0)


async def test_a_viewer_sees_dead_letters_and_can_not_retry(as_viewer: Page, mesh: Mesh) -> None:
    await as_viewer.goto("/lake/dead-letters")
    letters = as_viewer.get_by_role("region", name="Dead letters").get_by_role("listitem")
    await expect(letters.first).to_be_visible()
    await expect(as_viewer.get_by_role("button", name="Retry")).to_have_count(0)
    number = max(kept.number for kept in await mesh.client.dead_letters())
    answer = await as_viewer.request.get(f"/lake/dead-letters/{number}/thumbnail")
    assert answer.status == 403
