"""Trying models on photos in a browser."""

from pathlib import Path

from playwright.async_api import Page, expect

from tests.console import lakeside
from tests.console.conftest import MODEL, Mesh, Shoot


async def test_a_photo_is_answered_in_words_and_as_a_picture(
    page: Page, mesh: Mesh, photos: Path, tmp_path: Path, shoot: Shoot
) -> None:
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(lakeside.photo(photos / "chelsea.png"))
    await page.goto("/try")
    await expect(page.get_by_role("checkbox", name=MODEL)).to_be_checked()
    await shoot(page, "try-empty")
    await page.get_by_label("Choose a photo").set_input_files(photo)
    answers = page.get_by_role("region", name="Answers")
    await expect(answers).to_contain_text(f"{photo.stat().st_size} bytes")
    await expect(answers).to_contain_text("model,")
    await expect(answers.get_by_role("img", name=f"{MODEL}: {photo.stat().st_size} bytes")).to_be_visible()
    await shoot(page, "try")
