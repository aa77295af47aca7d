"""Who gets in, and what other web sites can do."""

from playwright.async_api import Page, expect

from tests.console.conftest import Shoot


async def test_who_has_not_logged_in_is_asked_for_a_token(anonymous: Page, shoot: Shoot) -> None:
    await anonymous.goto("/")
    await expect(anonymous).to_have_url("/login?next=%2F")
    await shoot(anonymous, "login")


async def test_an_operator_logs_in_and_sees_the_first_page(as_operator: Page, shoot: Shoot) -> None:
    await expect(as_operator.get_by_role("heading", level=1)).to_have_text("Live")
    await shoot(as_operator, "live-empty")
