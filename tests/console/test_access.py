"""Who gets in, what they see, and what other web sites can do."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import ClientSession, WSServerHandshakeError
from nicegui import Client, core, ui
from playwright.async_api import Page, expect
from starlette.requests import Request

from console.access import Caller, Failures
from console.app import _close_pages
from console.guard import CALLER
from framemesh.limits import MAX_IMAGE_BYTES
from framemesh.rpc.tokens import Role
from tests.console.conftest import MODEL, OPERATOR, TOKENS, VIEWER, Mesh, Shoot
from tests.console.live import camera, plain

ELSEWHERE = "https://elsewhere.example"
SOCKETS = ["/live/stream", "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"]


@pytest_asyncio.fixture(loop_scope="session")
async def session(console_url: str) -> AsyncIterator[ClientSession]:
    """An operator's, without a browser to look after them: their cookie goes with whatever is asked."""
    jar = aiohttp.CookieJar(unsafe=True)  # for an address in place of a name
    async with ClientSession(console_url, cookie_jar=jar, headers={"Origin": console_url}) as session:
        async with session.post("/login", data={"token": OPERATOR}, allow_redirects=False) as answer:
            assert answer.status == 303
        yield session


async def test_who_has_not_logged_in_is_asked_for_a_token(anonymous: Page, shoot: Shoot) -> None:
    await anonymous.goto("/?camera=gate")
    await expect(anonymous).to_have_url("/login?next=%2F%3Fcamera%3Dgate")
    await shoot(anonymous, "login")
    await anonymous.set_viewport_size({"width": 390, "height": 844})
    box = await anonymous.get_by_role("main").bounding_box()
    assert box is not None
    assert 0 < box["x"] < 390 - box["width"]  # nothing beyond a phone's edge
    await anonymous.get_by_label("Token").fill("no-token-of-this-mesh-no-token-of-this-mesh")
    await anonymous.get_by_role("button", name="Log in").click()
    await expect(anonymous.get_by_role("alert")).to_have_text("The mesh does not know this token.")
    await anonymous.get_by_label("Token").fill(VIEWER)
    await anonymous.get_by_role("button", name="Log in").click()
    await expect(anonymous).to_have_url("/?camera=gate")
    await expect(anonymous.get_by_role("heading", level=1)).to_have_text("Live")


async def test_who_logs_out_is_out(page: Page) -> None:
    await page.goto("/")
    await page.get_by_role("button", name="Account").click()
    await expect(page.get_by_text("ops: admin")).to_be_visible()
    await page.get_by_role("button", name="Log out").click()
    await expect(page).to_have_url("/login")
    await page.goto("/")
    await expect(page.get_by_label("Token")).to_be_visible()


async def test_who_logs_in_next_in_the_same_browser_gets_no_page_of_the_one_before(page: Page, mesh: Mesh) -> None:
    await page.goto("/models")
    await expect(page.get_by_role("button", name="Deploy a model")).to_be_visible()
    origin = {"Origin": mesh.console_url}
    await page.request.post("/logout", headers=origin)
    await page.request.post("/login", form={"token": VIEWER}, headers=origin)
    await page.get_by_role("button", name=f"Log of {MODEL}").click()  # the page speaks, and is not heard any more
    await expect(page.get_by_text("takes a token of role admin")).to_be_visible()


async def test_a_page_that_was_left_just_before_its_session_ends_is_ended_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
    caller = Caller("ops", Role.ADMIN, OPERATOR, "session-of-nobody-else")
    asked = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], CALLER: caller}
    client = Client(ui.page("/left", reconnect_timeout=0), request=Request(asked))
    await client.handle_handshake("socket", "tab", None, "document", None)
    client.handle_disconnect("socket")
    (waiting,) = client._delete_tasks.values()
    _close_pages(caller.session)
    assert client.is_deleted
    with pytest.raises(asyncio.CancelledError):  # else it would fail: there is no such client any more
        await waiting


async def test_a_token_that_is_taken_back_ends_its_sessions(anonymous: Page, mesh: Mesh) -> None:
    guest = "guest-token-guest-token-guest-token-1"
    mesh.tokens.write_text(f'{TOKENS}[guest]\nrole = "read"\ntoken = "{guest}"\n')
    try:
        await anonymous.goto("/login")
        await anonymous.get_by_label("Token").fill(guest)
        await anonymous.get_by_role("button", name="Log in").click()
        async with camera(mesh.bus, "guarded", plain()):
            await expect(anonymous.get_by_role("heading", name="guarded")).to_be_visible()
            mesh.tokens.write_text(TOKENS)
            await expect(anonymous.get_by_label("Token")).to_be_visible()
    finally:
        mesh.tokens.write_text(TOKENS)


async def test_a_cookie_is_for_the_browser_alone(session: ClientSession, console_url: str) -> None:
    async with session.post("/login", data={"token": VIEWER}, allow_redirects=False) as answer:
        cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert VIEWER not in cookie


async def test_pages_are_framed_by_nobody_and_run_no_script_but_ours(session: ClientSession) -> None:
    async with session.get("/") as answer:
        policy, page = answer.headers["Content-Security-Policy"], await answer.text()
    assert "frame-ancestors 'none'" in policy
    scripts = policy.partition("script-src ")[2].partition(";")[0]
    assert "'unsafe-inline'" not in scripts
    nonce = scripts.partition("'nonce-")[2].partition("'")[0]
    assert page.count("<script") == page.count(f'<script nonce="{nonce}"') > 5


async def test_a_page_loads_nothing_from_elsewhere(page: Page, console_url: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto("/")
    await page.get_by_role("button", name="Language").wait_for()
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((console_url, "data:", "blob:"))] == []


@pytest.mark.parametrize("path", ["/login", "/logout", "/_nicegui/client/1/upload/1"])
async def test_another_site_can_change_nothing(session: ClientSession, path: str) -> None:
    for origin in (ELSEWHERE, "null", "", "http://["):
        headers = {"Origin": origin}
        async with session.post(path, data={"token": VIEWER}, headers=headers, allow_redirects=False) as answer:
            assert (answer.status, "another web site" in await answer.text()) == (403, True)
    async with session.get("/session") as answer:
        assert answer.status == 204


@pytest.mark.parametrize("path", SOCKETS)
async def test_another_site_can_open_no_websocket(session: ClientSession, path: str, console_url: str) -> None:
    for origin in (ELSEWHERE, "null", console_url.replace("127.0.0.1", "localhost")):
        with pytest.raises(WSServerHandshakeError) as refused:
            await session.ws_connect(path, headers={"Origin": origin})
        assert refused.value.status == 403
    async with session.ws_connect(path) as socket:
        assert not socket.closed


@pytest.mark.parametrize("path", SOCKETS)
async def test_nobody_opens_a_websocket_without_having_logged_in(console_url: str, path: str) -> None:
    async with ClientSession(console_url, headers={"Origin": console_url}) as nobody:
        with pytest.raises(WSServerHandshakeError) as refused:
            await nobody.ws_connect(path)
    assert refused.value.status == 403


async def test_a_site_that_gives_itself_our_address_is_not_served(session: ClientSession) -> None:
    async with session.get("/session", headers={"Host": "elsewhere.example"}) as answer:
        assert answer.status == 421


async def test_an_upload_beyond_the_limit_is_refused(session: ClientSession) -> None:
    body = b"x" * (MAX_IMAGE_BYTES + 100_000)
    async with session.post("/_nicegui/client/1/upload/1", data=BytesIO(body)) as answer:
        assert answer.status == 413

    async def in_parts() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1_000_000):
            yield body[start : start + 1_000_000]

    async with session.post("/login", data=in_parts()) as answer:
        assert answer.status in {403, 413}


async def test_a_login_leads_to_no_other_site(session: ClientSession) -> None:
    for wish in (ELSEWHERE, "//elsewhere.example", "/\\elsewhere.example", "javascript:alert(1)"):
        async with session.post("/login", data={"token": VIEWER, "next": wish}, allow_redirects=False) as answer:
            assert answer.headers["Location"] == "/"


def test_ten_failures_in_a_minute_are_enough() -> None:
    failures = Failures()
    for second in range(10):
        assert not failures.too_many("10.0.0.7", second)
        failures.note("10.0.0.7", second)
    assert failures.too_many("10.0.0.7", 10)
    assert not failures.too_many("10.0.0.8", 10)
    assert not failures.too_many("10.0.0.7", 61)


async def test_wrong_tokens_are_limited_and_keep_out_nobody_who_has_a_right_one(console_url: str) -> None:
    elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))  # so that other tests' wrong tokens are not limited
    async with ClientSession(console_url, connector=elsewhere, headers={"Origin": console_url}) as proxied:

        async def log_in(token: str) -> int:
            async with proxied.post("/login", data={"token": token}, allow_redirects=False) as answer:
                return answer.status

        assert [await log_in(f"{OPERATOR}-{number}") for number in range(12)] == [403] * 10 + [429] * 2
        assert await log_in(OPERATOR) == 303
        assert await log_in(f"{OPERATOR}-more") == 429


async def test_an_address_with_nothing_at_it_leads_home_in_the_visitors_language(
    page: Page, session: ClientSession, shoot: Shoot
) -> None:
    answer = await page.goto("/nonesuch")
    assert answer is not None
    assert answer.status == 404
    await expect(page.get_by_role("heading", level=1)).to_have_text("No such page")
    await shoot(page, "not-found")
    await page.get_by_role("button", name="Language").click()
    await page.get_by_text("한국어").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("없는 페이지입니다")
    await page.get_by_role("link", name="카메라로 가기").click()
    await expect(page).to_have_url("/")
    async with session.get("/nonesuch", headers={"Accept": "application/json"}) as plain_answer:
        assert (plain_answer.status, plain_answer.content_type) == (404, "text/plain")


async def test_login_and_logout_can_be_asked_for_without_harm(session: ClientSession, console_url: str) -> None:
    async with session.get("/logout", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/")
    async with session.get("/session") as answer:
        assert answer.status == 204
    async with ClientSession(console_url) as nobody, nobody.head("/login") as answer:
        assert (answer.status, answer.content_type, await answer.read()) == (200, "text/html", b"")


async def test_theme_and_language_are_the_visitors_and_stay(page: Page) -> None:
    await page.goto("/")
    root = page.locator("html")
    await expect(root).to_have_attribute("data-theme", "light")
    await page.get_by_role("button", name="Dark or light").click()
    await expect(root).to_have_attribute("data-theme", "dark")
    await page.get_by_role("button", name="Language").click()
    await page.get_by_text("한국어").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("실시간")
    await expect(root).to_have_attribute("lang", "ko-KR")
    await expect(root).to_have_attribute("data-theme", "dark")
