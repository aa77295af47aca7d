"""The page Health in a real browser, on a real mesh: parts that come and go, what waits, and a gateway that is away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from playwright.async_api import Browser, Locator, Page, expect

from framemesh.bus import streams
from framemesh.bus.presence import Presence
from framemesh.mesh import processes
from framemesh.mesh.servers import HOST, free_port
from framemesh.service import running
from tests.console.conftest import MODEL, OPERATOR, Mesh, Shoot
from tests.console.live import camera, plain
from tests.faults.proxy import Proxy, proxy
from tests.gateway.conftest import publish
from tests.pictures import jpeg

expect.set_options(timeout=60_000)


def part(page: Page, kind: str) -> Locator:
    """The row of a part."""
    return page.get_by_role("listitem").filter(has=page.get_by_text(kind, exact=True))


async def test_parts_come_and_go_and_what_is_missing_is_told_with_what_to_do(
    mesh: Mesh, page: Page, shoot: Shoot
) -> None:
    await page.goto("/health")
    verdict = page.get_by_role("status").first
    await expect(verdict).to_contain_text("python -m archiver")
    await expect(part(page, "Deployer")).to_contain_text("Not heard")
    await expect(part(page, "Gateway")).to_contain_text("Up")
    await expect(part(page, "Model server")).to_contain_text(f"{MODEL} 0")
    telling = Presence(mesh.bus, "deployer"), Presence(mesh.bus, "archiver")
    async with running(*telling, drain_seconds=20):
        await expect(part(page, "Deployer")).to_contain_text("Up")
        await expect(verdict).to_contain_text("All is well")
        await shoot(page, "health")
    await expect(part(page, "Deployer").filter(has_text="Gone")).to_contain_text("for")
    await expect(verdict).to_contain_text("python -m deployer")


async def test_what_waits_and_what_could_not_be_processed_are_counted(mesh: Mesh, page: Page) -> None:
    before = (await mesh.bus.js.stream_info(streams.DEADLETTERS)).state.messages
    await publish(mesh.bus, "counted", jpeg())
    await mesh.bus.publish("frames.counted", b"no image", {}, timeout=20)
    await page.goto("/health")
    await expect(part(page, "counted")).to_contain_text("newest")
    stored = part(page, "STORED")
    await expect(stored).to_contain_text("of 64 MiB")
    await expect(stored.get_by_role("progressbar")).to_be_visible()
    letters = page.get_by_role("link", name=f"Dead letters: {before + 1}.")
    await expect(letters).to_have_attribute("href", "/lake/dead-letters")


@asynccontextmanager
async def behind(mesh: Mesh, way: Proxy, **variables: str) -> AsyncIterator[str]:
    """Another console of the same mesh, which calls the gateway on a way that can be cut; its address."""
    port = free_port()
    env = {
        **mesh.variables,
        "FRAMEMESH_TOKENS_FILE": str(mesh.tokens),
        "FRAMEMESH_GRAFANA_URL": "http://grafana.example/",
        **variables,
    }
    spec = processes.console(env, gateway=f"{HOST}:{way.port}", port=port, http_port=free_port())
    await mesh.supervisor.start(replace(spec, name="console behind"))
    try:
        yield f"http://{HOST}:{port}"
    finally:
        await mesh.supervisor.stop("console behind")


async def test_while_the_gateway_is_away_the_pages_say_so_and_they_heal_by_themselves(
    mesh: Mesh, browser: Browser, shoot: Shoot
) -> None:
    port = int(mesh.variables["FRAMEMESH_ADDRESS"].rpartition(":")[2])
    async with proxy(port) as way, behind(mesh, way) as url, camera(mesh.bus, "watched", plain(), fps=2):
        context = await browser.new_context(base_url=url, locale="ko-KR")
        health, models, live, compare = [await context.new_page() for _ in range(4)]
        await health.request.post("/login", form={"token": OPERATOR}, headers={"Origin": url}, max_redirects=0)
        await health.goto("/health")
        await models.goto("/models")
        await live.goto("/?models=")
        await compare.goto("/compare")
        grafana = health.get_by_role("link", name="Grafana")
        await expect(grafana).to_have_attribute("href", "http://grafana.example/dashboards?tag=framemesh")
        await expect(part(health, "게이트웨이")).to_contain_text("작동 중")
        await expect(models.locator(f'li[data-model="{MODEL}"]')).to_contain_text("준비됨")
        watched = live.get_by_role("listitem").filter(has_text="watched")
        await expect(watched).to_contain_text("실시간")
        await live.evaluate("window.loadedOnce = true")
        await way.cut()
        await expect(part(health, "게이트웨이").filter(has_text="응답 없음")).to_be_visible()
        await expect(part(health, "레이크 (S3)")).to_contain_text("알 수 없음")
        for page in (models, live, compare):
            await expect(silence(page)).to_be_visible()
        shown = await watched.get_attribute("data-frame")
        await expect(watched).not_to_have_attribute("data-frame", shown or "")  # frames don't come by the gateway
        await expect(watched).to_contain_text("실시간")
        await shoot(health, "health-away")
        await way.mend()
        await expect(part(health, "게이트웨이").filter(has_text="작동 중")).to_be_visible()
        for page in (models, live, compare):
            await expect(silence(page)).to_be_hidden()
        assert await live.evaluate("window.loadedOnce")
        way.stall()  # nothing is cut, nothing is answered
        opened = await context.new_page()
        await opened.goto("/models")
        await expect(opened.get_by_role("status").filter(has_text="확인하는 중")).to_be_visible()
        await models.get_by_role("button", name=f"{MODEL} 서버 한 대 늘리기").click()
        await expect(models.get_by_role("alert").filter(has_text="제시간에 응답이 오지 않았습니다")).to_be_visible()
        for page in (models, live, compare, opened):
            await expect(silence(page)).to_contain_text("제시간에 응답이 오지 않았습니다")  # no keepalive has told it
        await way.mend()
        await expect(opened.locator(f'li[data-model="{MODEL}"]')).to_contain_text("준비됨")
        for page in (live, compare, opened):
            await expect(silence(page)).to_be_hidden()
        await context.close()


def silence(page: Page) -> Locator:
    """The line that says that the mesh does not answer."""
    return page.get_by_role("status").filter(has_text="메시가 응답하지 않아")
