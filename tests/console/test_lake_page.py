"""The lake in a browser: frames found, looked at and taken home; dead letters tried again."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from framemesh.errors import InternalError
from framemesh.frames import FrameId, object_key
from framemesh.lake import Lake
from framemesh.query import LakePlace, tables
from tests.console import lakeside
from tests.console.conftest import MODEL, OPERATOR, TOKENS, Mesh, Shoot
from tests.console.test_health import behind
from tests.faults.proxy import proxy
from tests.gateway.conftest import until
from tests.pictures import jpeg

HOSTILE = "<script>window.hacked = 1</script>"
NO_OBJECT = re.compile("^no object")
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


async def test_models_are_confirmed_and_corrected_and_that_is_taken_back(
    page: Page, mesh: Mesh, frames: list[FrameId], shoot: Shoot
) -> None:
    frame = str(frames[2])
    await page.goto(f"/lake/{frame}")
    said = corrections(page).get_by_role("listitem")
    await expect(said).to_have_text("Nobody has corrected this frame.")
    await page.get_by_role("button", name="lite0 is right").click()
    await expect(said).to_contain_text("about lite0")
    await expect(said).to_contain_text("by ops")
    await page.get_by_role("button", name="detr is right").click()
    await expect(said).to_have_count(2)
    boxes, label = await mesh.client.corrections(frame_id=frame)
    assert (label.label, label.model) == ("espresso", "lite0")
    assert [(one.label, one.box.x_max_px) for one in boxes.objects.objects] == [("espresso", 450.0)]
    await expect(page.get_by_role("img", name="people: espresso")).to_be_visible()
    await page.get_by_role("button", name="detr is wrong: there is no object").click()
    await expect(said.filter(has_text="no object")).to_be_visible()
    field = page.get_by_label("The image shows")
    await field.fill(HOSTILE)
    await field.press("Enter")
    await expect(said.filter(has_text=HOSTILE)).to_be_visible()
    assert await page.evaluate("window.hacked") is None
    await shoot(page, "lake-frame-corrected")
    await lakeside.archived(mesh)
    await page.get_by_role("button", name=f"Take back {HOSTILE}").click()
    await expect(said).to_have_count(1)
    await expect(said).to_have_text(NO_OBJECT)
    await expect(field).to_be_focused()
    await page.reload()
    await expect(said).to_have_text(NO_OBJECT)  # and not what the tables had
    assert [one.HasField("objects") for one in await mesh.client.corrections(frame_id=frame)] == [True]


async def test_a_label_that_can_not_be_is_refused_with_the_reason(page: Page, frames: list[FrameId]) -> None:
    await page.goto(f"/lake/{frames[4]}")
    field = page.get_by_label("The image shows")
    for label, told in (("a cat\u200b", r"'a cat\u200b'"), ("x" * 257, f"{'x' * 80}'"), (" ", "''")):
        await field.fill(label)
        await page.get_by_role("button", name="Save correction").click()
        problem = f"{told} can't be a label: use 1 to 256 printable characters"
        await expect(page.get_by_text(problem)).to_be_visible()
        await expect(field).to_have_value(label)
    await expect(page.get_by_text("Nobody has corrected this frame.")).to_be_visible()
    await field.fill("x" * 256)
    await field.press("Enter")
    await expect(corrections(page)).to_contain_text("x" * 256)
    await expect(page.get_by_text("can't be a label")).to_have_count(0)


async def test_a_viewer_sees_corrections_and_can_make_none(as_viewer: Page, mesh: Mesh, frames: list[FrameId]) -> None:
    await mesh.client.correct(str(frames[6]), "a bird", model="lite0")
    await as_viewer.goto(f"/lake/{frames[6]}")
    await expect(corrections(as_viewer)).to_contain_text("a bird")
    await expect(as_viewer.get_by_text("a token of role label")).to_be_visible()
    for name in ("is right", "there is no object", "Save correction", "Take back"):
        await expect(as_viewer.get_by_role("button", name=name)).to_have_count(0)
    await expect(as_viewer.get_by_label("The image shows")).to_have_count(0)


async def test_a_page_with_buttons_that_its_session_may_not_use_any_more_is_refused(
    anonymous: Page, mesh: Mesh, frames: list[FrameId]
) -> None:
    ann = "annotator-token-annotator-token-annotator"
    tokens = f'{TOKENS}[ann]\nrole = "{{}}"\ntoken = "{ann}"\n'
    mesh.tokens.write_text(tokens.format("label"))
    try:
        origin = {"Origin": mesh.console_url}
        await anonymous.request.post("/login", form={"token": ann}, headers=origin)
        await anonymous.goto(f"/lake/{frames[12]}")
        await anonymous.get_by_role("button", name="lite0 is right").click()
        await expect(corrections(anonymous)).to_contain_text("by ann")
        mesh.tokens.write_text(tokens.format("read"))
        await anonymous.get_by_role("button", name="detr is right").click()
        await expect(anonymous.get_by_text("CorrectFrame takes role label")).to_be_visible()
        await anonymous.get_by_role("button", name="Take back").click()
        await expect(anonymous.get_by_text("RemoveCorrection takes role label")).to_be_visible()
        assert [one.author for one in await mesh.client.corrections(frame_id=str(frames[12]))] == ["ann"]
    finally:
        mesh.tokens.write_text(TOKENS)


async def test_what_others_say_of_a_frame_comes_to_its_page_and_so_does_what_they_take_back(
    page: Page, mesh: Mesh, frames: list[FrameId]
) -> None:
    frame = str(frames[14])
    await page.goto(f"/lake/{frame}")
    await page.get_by_role("button", name="lite0 is right").click()
    await expect(corrections(page)).to_contain_text("about lite0")
    await page.get_by_label("The image shows").fill("a hedge")
    await mesh.client.correct(frame, "a dog")
    await expect(page.get_by_role("button", name="Take back a dog")).to_be_visible()
    await expect(page.get_by_role("img", name="people: a dog")).to_be_visible()
    await mesh.client.remove_correction(frame)
    await expect(page.get_by_text("Nobody has corrected this frame.")).to_be_visible()
    await expect(page.get_by_label("The image shows")).to_have_value("a hedge")
    await lakeside.archived(mesh)
    with tables(LakePlace.from_environment(mesh.variables)) as lake:
        sql = "SELECT label FROM corrections_files WHERE frame_id = $frame_id ORDER BY correct_time"
        assert [label for (label,) in lake.ask(sql, frame_id=frame).rows] == [HOSTILE, "a dog", ""]


async def test_a_frame_whose_picture_is_gone_can_not_be_corrected_any_more(
    page: Page, mesh: Mesh, frames: list[FrameId]
) -> None:
    frame = frames[10]
    await mesh.client.correct(str(frame), "a cup")
    async with Lake.from_settings(mesh.settings, bucket=mesh.settings.s3_frames_bucket) as lake:
        await lake.delete(object_key(frame, "image/jpeg"))
    await page.goto(f"/lake/{frame}")
    await expect(page.get_by_text("The picture can't be shown")).to_be_visible()
    await expect(corrections(page)).to_contain_text("a cup")
    await page.get_by_role("button", name="lite0 is right").click()
    await expect(page.get_by_text("its time was up")).to_be_visible()
    await page.get_by_role("button", name="Take back a cup").click()
    await expect(page.get_by_text("Nobody has corrected this frame.")).to_be_visible()


async def test_while_the_mesh_is_away_a_correction_waits_to_be_said_again_and_none_is_taken_back_unseen(
    mesh: Mesh, browser: Browser, frames: list[FrameId]
) -> None:
    frame = str(frames[8])
    port = int(mesh.variables["FRAMEMESH_ADDRESS"].rpartition(":")[2])
    nats = mesh.variables["FRAMEMESH_NATS_URL"]
    nats_port = nats.rpartition(":")[2]
    async with (
        proxy(port) as way,
        proxy(int(nats_port)) as bus_way,
        behind(mesh, way, FRAMEMESH_NATS_URL=nats.replace(nats_port, str(bus_way.port))) as url,
    ):
        context = await browser.new_context(base_url=url, locale="en-US")
        page = await context.new_page()
        await page.request.post("/login", form={"token": OPERATOR}, headers={"Origin": url}, max_redirects=0)
        await page.goto(f"/lake/{frame}")
        field = page.get_by_label("The image shows")
        await field.fill("a dog")
        await way.cut()
        await field.press("Enter")
        await expect(page.get_by_text("try again in a moment").first).to_be_visible()
        await expect(field).to_have_value("a dog")
        await page.reload()
        await expect(page.get_by_text("This may not be the newest")).to_be_visible()
        await field.fill("a dog")
        await way.mend()

        async def kept() -> bool:
            await page.get_by_role("button", name="Save correction").click()
            return bool(await mesh.client.corrections(frame_id=frame))

        await until(kept, seconds=60)
        await expect(corrections(page)).to_contain_text("a dog")
        bus_way.stall()  # what others say is not heard any more
        await mesh.client.correct(frame, "a cat")
        await page.get_by_role("button", name="Take back a dog").click()
        await expect(page.get_by_text("Corrected meanwhile: a cat")).to_be_visible()
        await expect(corrections(page)).to_contain_text("a cat")
        assert [one.label for one in await mesh.client.corrections(frame_id=frame)] == ["a cat"]
        await bus_way.mend()
        await context.close()


def corrections(page: Page) -> Locator:
    return page.get_by_role("list", name="Corrections")


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
    for no in ("Escape", "Enter"):
        await page.get_by_role("button", name="Retry all of these").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Cancel").press(no)
        await expect(dialog).to_be_hidden()
    await expect(of_model.or_(refused)).to_have_count(2)
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
    await lakeside.take(mesh, "lake-seen", 0, b"no picture")
    await until(mesh.client.dead_letters, seconds=60)
    await as_viewer.goto("/lake/dead-letters")
    letters = as_viewer.get_by_role("region", name="Dead letters").get_by_role("listitem")
    await expect(letters.first).to_be_visible()
    await expect(as_viewer.get_by_role("button", name="Retry")).to_have_count(0)
    number = max(kept.number for kept in await mesh.client.dead_letters())
    answer = await as_viewer.request.get(f"/lake/dead-letters/{number}/thumbnail")
    assert answer.status == 403
