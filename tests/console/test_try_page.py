"""Trying models on photos in a browser."""

import struct
import zlib
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from framemesh.frames import object_key
from framemesh.limits import MAX_IMAGE_BYTES
from tests.console import lakeside
from tests.console.conftest import MODEL, VIEWER, Mesh, Shoot
from tests.gateway.conftest import until

PASTE = """bytes => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], "pasted.jpg", { type: "image/jpeg" }));
    window.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
}"""


@pytest.fixture
def photo(photos: Path) -> bytes:
    return lakeside.photo(photos / "chelsea.png")


def answers(page: Page) -> Locator:
    return page.get_by_role("region", name="Answers")


async def give(page: Page, name: str, body: bytes) -> None:
    """Choose a file, as soon as the page knows whom to ask about it."""
    await expect(page.get_by_role("checkbox", name=MODEL)).to_be_checked()
    await page.locator("input[type=file]").first.set_input_files({"name": name, "mimeType": "", "buffer": body})


def many_pixels() -> bytes:
    """A whole PNG of 400 million black pixels, in a few kilobytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj()
    rows = b"".join(packer.compress(bytes(1 + 20_000 // 8)) for _ in range(20_000)) + packer.flush()
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


async def test_a_photo_is_answered_in_words_and_as_a_picture(
    page: Page, browser: Browser, mesh: Mesh, photo: bytes, shoot: Shoot
) -> None:
    await page.goto("/try")
    await expect(page.get_by_role("checkbox", name=MODEL)).to_be_checked()
    await shoot(page, "try-empty")
    async with page.expect_request(lambda request: request.method == "POST") as sending:
        await give(page, "cat.jpg", photo)
    await expect(answers(page)).to_contain_text("in all")
    await expect(answers(page).get_by_role("img", name=f"{MODEL}: {len(photo)} bytes 100 %")).to_be_visible()
    await shoot(page, "try")
    await page.evaluate(PASTE, list(photo + b"\xff\xd9"))
    await expect(answers(page)).to_contain_text(f"{len(photo) + 2} bytes")

    score = page.get_by_label("Least score")
    await score.fill("7")
    await page.get_by_role("button", name="Ask again").click()
    await expect(answers(page)).to_contain_text("Nobody was asked")
    await expect(page.get_by_text("Write a score from 0 to 1.")).to_be_visible()
    await expect(score).to_have_value("7")
    await score.fill("0.5")
    await page.get_by_role("button", name="Ask again").click()
    await expect(answers(page)).to_contain_text(f"{len(photo) + 2} bytes")
    await expect(page.get_by_text("Write a score from 0 to 1.")).to_have_count(0)

    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="Copy the code").first.click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert f'Client("{mesh.variables["FRAMEMESH_ADDRESS"]}", token=os.environ["FRAMEMESH_TOKEN"])' in copied
    assert f'models=["{MODEL}"]' in copied

    url, origin = (await sending.value).url, {"Origin": mesh.console_url, "Framemesh-Preview": "blob:x"}
    large = await page.request.post(url, data=b"x" * (MAX_IMAGE_BYTES + 1), headers=origin)
    assert large.status == 413
    assert f"{MAX_IMAGE_BYTES:,}" in await large.text()
    stranger = await browser.new_context(base_url=mesh.console_url)
    await stranger.request.post("/login", form={"token": VIEWER}, headers=origin)
    assert (await stranger.request.post(url, data=photo, headers=origin)).status == 403
    await stranger.close()


async def test_what_is_no_photo_is_refused_as_the_gateway_says_it(page: Page, photo: bytes) -> None:
    await page.goto("/try")
    await give(page, "notes.txt", b"not a photo <script>")
    await expect(page.get_by_role("alert").filter(has_text="no image that framemesh reads")).to_be_visible()
    await give(page, "cat.jpg", photo)
    await expect(answers(page)).to_contain_text(f"{len(photo)} bytes")
    await give(page, "poster.png", many_pixels())
    await expect(page.get_by_role("alert").filter(has_text="claims more pixels")).to_be_visible()
    await expect(page.get_by_text("Drop a photo here")).to_be_visible()
    await expect(page.get_by_role("main").locator("img, canvas")).to_have_count(0)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    await give(page, "large.jpg", photo + bytes(MAX_IMAGE_BYTES))
    alert = page.get_by_role("alert").filter(has_text=f"the limit is {MAX_IMAGE_BYTES:,}")
    await expect(alert).to_be_visible()
    assert "POST" not in sent
    await give(page, "cat.jpg", photo)
    await expect(answers(page)).to_contain_text(f"{len(photo)} bytes")
    await expect(alert).to_be_hidden()


async def test_a_stored_frame_is_asked_about_and_nothing_else_of_the_lake(page: Page, mesh: Mesh, photo: bytes) -> None:
    before = len(mesh.model.seen)
    key = object_key(await lakeside.take(mesh, "try-gate", 0, photo), "image/jpeg")
    await until(lambda: len(mesh.model.seen) > before, seconds=60)
    await page.goto(f"/try?frame={key.rpartition('/')[2]}")
    await expect(answers(page)).to_contain_text(f"{len(photo)} bytes")
    await page.goto("/try?frame=../models/manifest.json")
    await expect(page.get_by_text("Drop a photo here")).to_be_visible()


async def test_who_may_only_look_is_told_that_trying_takes_another_role(as_viewer: Page, shoot: Shoot) -> None:
    await as_viewer.goto("/try")
    await expect(as_viewer.get_by_text("This page takes another role")).to_be_visible()
    await shoot(as_viewer, "try-forbidden")
    await expect(as_viewer.get_by_role("link", name="Try", exact=True)).to_have_count(0)
