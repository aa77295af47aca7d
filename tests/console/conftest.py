"""One small mesh for all tests of the console: real NATS, S3, gateway and console, a model whose answers a test
chooses, and a real Chromium.

All of it lives on the session's event loop, as the tests in this folder do; an async fixture of a test module's own
says so: `@pytest_asyncio.fixture(loop_scope="session")`. It ends with the folder's last test, as nothing turns that
loop while other tests run.
"""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from pydantic import SecretStr
from pytest_asyncio import is_async_test

from framemesh.bus import Bus, connect, streams
from framemesh.client import AsyncClient
from framemesh.mesh import processes
from framemesh.mesh.servers import HOST, Credentials, console_permissions, free_port, nats_server, nats_url, s3_server
from framemesh.mesh.supervision import Supervisor
from gateway.app import gateway
from gateway.settings import GatewaySettings
from tests.conftest import CREDENTIALS, SIZES
from tests.gateway.conftest import deploy, serving_model
from tests.gateway.echo import EchoModel

OPERATOR = "operator-token-operator-token-operator"
VIEWER = "viewer-token-viewer-token-viewer-token"
TOKENS = f'[ops]\nrole = "admin"\ntoken = "{OPERATOR}"\n[wall]\nrole = "read"\ntoken = "{VIEWER}"\n'
MODEL = "echo"
"""Name of the one model."""

_PATIENCE_MS = 60_000
_REFUSED = ("Failed to load resource", "WebSocket connection to")
expect.set_options(timeout=_PATIENCE_MS)
CHROMIUM = shutil.which("chromium")
_LONGEST_PX = 4_000
SIZES_PX = {"desktop": (1440, 900), "phone": (390, 844)}
_CONSOLE = Credentials("console", "a-password-of-the-console")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@dataclass(frozen=True, slots=True)
class Mesh:
    """A mesh that runs, with its console.

    Attributes:
        bus: Connected as a user who may do everything.
        client: The gateway, called by an operator.
        model: Answers what a test wants; it is deployed as `MODEL`, for all cameras, policy `every`.
        settings: The gateway's.
        tokens: The tokens file of gateway and console.
        supervisor: Runs the processes: `nats`, `s3`, `console`.
        console_url: Without a slash at the end.
        variables: What other services of this mesh would need in their environment.
    """

    bus: Bus
    client: AsyncClient
    model: EchoModel
    settings: GatewaySettings
    tokens: Path
    supervisor: Supervisor
    console_url: str
    variables: dict[str, str]


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    folder = tmp_path_factory.mktemp("console")
    tokens = folder / "tokens.toml"
    tokens.write_text(TOKENS)
    nats_port, s3_port, console_port, http_port = (free_port() for _ in range(4))
    async with AsyncExitStack() as stack:
        supervisor = await stack.enter_async_context(Supervisor(folder / "logs", on_event=print))
        others = {_CONSOLE: console_permissions(_CONSOLE.user)}
        await supervisor.start(nats_server(folder / "nats", nats_port, CREDENTIALS, others=others))
        await supervisor.start(s3_server(folder / "s3", s3_port, CREDENTIALS))
        s3 = {
            "FRAMEMESH_S3_ENDPOINT": f"http://{HOST}:{s3_port}",
            "FRAMEMESH_S3_ACCESS_KEY": CREDENTIALS.user,
            "FRAMEMESH_S3_SECRET_KEY": CREDENTIALS.password,
            "FRAMEMESH_S3_FRAMES_BUCKET": "photos",  # what reads the usual one finds nothing
        }
        bus = await stack.enter_async_context(connect(nats_url(nats_port, CREDENTIALS), name="tests"))
        await streams.ensure(bus, SIZES)
        settings = GatewaySettings(
            nats_url=SecretStr(nats_url(nats_port, CREDENTIALS)),
            s3_endpoint=s3["FRAMEMESH_S3_ENDPOINT"],
            s3_access_key=SecretStr(CREDENTIALS.user),
            s3_secret_key=SecretStr(CREDENTIALS.password),
            s3_frames_bucket=s3["FRAMEMESH_S3_FRAMES_BUCKET"],
            tokens_file=tokens,
            frames_stream_bytes=256 << 20,
            stored_stream_bytes=64 << 20,
            results_stream_bytes=64 << 20,
            deadletters_stream_bytes=64 << 20,
            drain_seconds=2,
        )
        served = await stack.enter_async_context(gateway(settings))
        address = f"{HOST}:{served.grpc_port}"
        client = await stack.enter_async_context(AsyncClient(address, token=OPERATOR))
        model = await stack.enter_async_context(serving_model(bus, MODEL))
        await deploy(client, bus, f"{MODEL}=example/{MODEL},policy=every")
        console = {**s3, "FRAMEMESH_NATS_URL": nats_url(nats_port, _CONSOLE), "FRAMEMESH_TOKENS_FILE": str(tokens)}
        with pytest.MonkeyPatch.context() as environment:
            environment.delenv("PYTEST_CURRENT_TEST", raising=False)  # by which NiceGUI would know that it is tested
            await supervisor.start(processes.console(console, gateway=address, port=console_port, http_port=http_port))
        variables = {**s3, "FRAMEMESH_NATS_URL": nats_url(nats_port, CREDENTIALS), "FRAMEMESH_ADDRESS": address}
        url = f"http://{HOST}:{console_port}"
        yield Mesh(bus, client, model, settings, tokens, supervisor, url, variables)


@pytest.fixture
def console_url(mesh: Mesh) -> str:
    """Where the console is, without a slash at the end."""
    return mesh.console_url


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, without a window."""
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium, to test the console")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, console_url: str) -> AsyncIterator[BrowserContext]:
    """A browser of nobody's: no cookies, a desktop's size, light."""
    width, height = SIZES_PX["desktop"]
    context = await browser.new_context(
        base_url=console_url,
        viewport={"width": width, "height": height},
        color_scheme="light",
        reduced_motion="reduce",  # what fades would be looked at halfway
        locale="en-US",
    )
    context.set_default_timeout(_PATIENCE_MS)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def anonymous(context: BrowserContext) -> AsyncIterator[Page]:
    """A page of somebody who has not logged in. What its scripts complain of fails the test."""
    page = await context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    yield page
    # A browser tells of each answer that is an error; whether it should have been one, tests say themselves.
    assert not [problem for problem in problems if not problem.startswith(_REFUSED)]


@pytest_asyncio.fixture(loop_scope="session")
async def as_operator(anonymous: Page, console_url: str) -> Page:
    """An empty page of somebody who may do everything."""
    return await _logged_in(anonymous, console_url, OPERATOR)


@pytest_asyncio.fixture(loop_scope="session")
async def as_viewer(anonymous: Page, console_url: str) -> Page:
    """An empty page of somebody who may only look."""
    return await _logged_in(anonymous, console_url, VIEWER)


@pytest.fixture
def page(as_operator: Page) -> Page:
    """A page of an operator's."""
    return as_operator


async def _logged_in(page: Page, console_url: str, token: str) -> Page:
    answer = await page.request.post("/login", form={"token": token}, headers={"Origin": console_url}, max_redirects=0)
    assert answer.status == 303
    return page


Shoot = Callable[[Page, str], Awaitable[None]]

_LOOKS: list[tuple[str, Literal["light", "dark"]]] = [(size, theme) for size in SIZES_PX for theme in ("light", "dark")]
_EXAMINED = {("desktop", "light"), ("phone", "dark")}
"""Both layouts and all colours, at half the time of every pair."""
_WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


_AT_REST = """async theme => {
  const frame = () => new Promise(requestAnimationFrame);
  await frame();
  await frame();
  if (document.documentElement.dataset.theme !== theme) return false;
  if (document.body.classList.contains("body--dark") !== (theme === "dark")) return false;
  return document.getAnimations().every(animation => animation.playState !== "running"
    || animation.effect.getComputedTiming().iterations === Infinity);
}"""
"""Whether the page has taken on the theme, and nothing moves any more but what moves for good."""


@pytest.fixture(scope="session")
def shoot() -> Shoot:
    """`await shoot(page, "models")` looks at the page as it is: light and dark, on a desktop and a phone.

    What axe finds against WCAG 2.2 AA (contrasts, names, roles, sizes of what is touched) fails the test. Pictures go
    to the folder that `FRAMEMESH_SCREENSHOTS` names, for people to look at; without it none are made.
    """
    given = os.environ.get("FRAMEMESH_SCREENSHOTS")
    folder = Path(given) if given else None
    axe = Axe()

    async def shoot(page: Page, name: str) -> None:
        before = page.viewport_size
        found = []
        for size, theme in _LOOKS:
            if folder is None and (size, theme) not in _EXAMINED:
                continue
            await _show(page, size, theme)
            if (size, theme) in _EXAMINED:
                found += [f"{name}, {size}, {theme}: {problem}" for problem in await _examined(page, axe)]
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                await page.screenshot(path=folder / f"{name}-{size}-{theme}.png")
        await page.emulate_media(color_scheme="light")
        if before is not None:
            await page.set_viewport_size(before)
        assert not found, "\n".join(found)

    return shoot


async def _show(page: Page, size: str, theme: Literal["light", "dark"]) -> None:
    """Have a page shown whole."""
    width, height = SIZES_PX[size]
    await page.set_viewport_size({"width": width, "height": height})
    whole = await page.evaluate("() => document.documentElement.scrollHeight")
    await page.set_viewport_size({"width": width, "height": max(height, min(whole, _LONGEST_PX))})
    await page.emulate_media(color_scheme=theme)
    await page.wait_for_function(_AT_REST, arg=theme)


async def _examined(page: Page, axe: Axe) -> list[str]:
    """What axe finds, of an open dialog alone: what is behind it is out of reach."""
    dialog = "[role=dialog]" if await page.get_by_role("dialog").count() else None
    results = await axe.run(page, dialog, {"runOnly": _WCAG, "resultTypes": ["violations"]})
    return [
        f"{violation['id']} at {node['target']}: {node['failureSummary']}"
        for violation in results.response["violations"]
        for node in violation["nodes"]
    ]
