"""The live page, in a real browser on a real mesh."""

import base64
import re
import time
from contextlib import AsyncExitStack
from io import BytesIO

from PIL import Image
from playwright.async_api import Locator, Page, expect

from framemesh.frames import FrameId, subject
from framemesh.specs import parse
from tests.console.conftest import MODEL, Mesh, Shoot
from tests.console.live import HEIGHT, WIDTH, boxes, camera, depth, mask, photo, plain, pose, say, send, text
from tests.gateway.conftest import publish, until

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def tile(page: Page, name: str) -> Locator:
    """A camera's place on the page."""
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name, exact=True))


async def heard(page: Page, mesh: Mesh, name: str) -> None:
    """A frame of the camera has come by, so what is sent from now on is seen."""

    async def seen() -> bool:
        await publish(mesh.bus, name, plain(200))
        return await page.locator(f"li.fm-camera[data-frame^={name}-]").count() > 0

    await until(seen, seconds=60)


async def painted(page: Page, name: str, *, panel: int = 0) -> Image.Image:
    """What is painted of a camera, scaled to the frame's own pixels."""
    canvas = tile(page, name).locator("canvas").nth(panel)
    url = await canvas.evaluate("canvas => canvas.toDataURL('image/png')")
    image = Image.open(BytesIO(base64.b64decode(url.partition(",")[2])))
    return image.convert("RGB").resize((WIDTH, HEIGHT))


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    found = image.getpixel((x, y))
    assert isinstance(found, tuple)
    return found


def coloured(image: Image.Image, x: int, y: int) -> bool:
    """Whether something is drawn there: the frames themselves are grey."""
    return max(pixel(image, x, y)) - min(pixel(image, x, y)) > 40


def alike(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether two colours are the same to the eye."""
    return max(abs(one - other) for one, other in zip(found, wanted, strict=True)) < 12


async def test_a_grid_of_cameras_with_answers(page: Page, mesh: Mesh, shoot: Shoot) -> None:
    """What people see most, kept as pictures to look at."""
    said = {
        "gate": [boxes("finder", ("cat", 0.93, (300, 40, 900, 660))), text("writer", "a cat looks up")],
        "bench": [boxes("finder", ("cup", 0.88, (330, 60, 960, 560)), ("spoon", 0.71, (900, 200, 1220, 520)))],
        "garden": [text("writer", "a rocket on its launch pad before dawn")],
        "lab": [],
    }
    shown = {"gate": "chelsea", "bench": "coffee", "garden": "rocket", "lab": "astronaut"}
    async with AsyncExitStack() as stack:
        for name, picture in shown.items():
            sending = camera(mesh.bus, name, photo(picture), answer=lambda frame: said[frame.camera], fps=5)
            await stack.enter_async_context(sending)
        await page.goto("/?models=finder,writer")
        for name in shown:
            await expect(tile(page, name).get_by_text("Live")).to_be_visible()
        await expect(tile(page, "garden")).to_have_attribute("data-answers", "writer:0")
        await shoot(page, "live")
        await page.goto("/?camera=gate&models=finder,writer")
        await expect(tile(page, "gate")).to_have_attribute("data-answers", "finder:0 writer:0")
        await shoot(page, "live-large")
        await page.get_by_role("button", name="Side by side").click()
        await expect(tile(page, "gate").locator("canvas")).to_have_count(2)
        await shoot(page, "live-side-by-side")


async def test_a_box_is_drawn_where_the_model_says(page: Page, mesh: Mesh) -> None:
    said = boxes("finder", ("cat", 0.9, (160, 90, 480, 270)))
    async with camera(mesh.bus, "boxes", plain(), answer=lambda _: [said]):
        await page.goto("/?models=finder")
        await expect(tile(page, "boxes")).to_have_attribute("data-answers", "finder:0")
        image = await painted(page, "boxes")
    edges = [(160, 180), (480, 180), (320, 90), (320, 270)]
    assert all(coloured(image, x, y) for x, y in edges)
    inside_and_outside = [(320, 180), (100, 180), (540, 180), (320, 40), (200, 230)]
    assert not any(coloured(image, x, y) for x, y in inside_and_outside)


async def test_a_mask_is_drawn_over_its_pixels(page: Page, mesh: Mesh) -> None:
    said = mask("parts", "road", columns=slice(0, WIDTH // 2))
    async with camera(mesh.bus, "masks", plain(), answer=lambda _: [said]):
        await page.goto("/?models=parts")
        await expect(tile(page, "masks")).to_have_attribute("data-answers", "parts:0")
        image = await painted(page, "masks")
    assert coloured(image, 160, 180)
    assert not coloured(image, 480, 180)


async def test_a_depth_is_drawn_light_where_it_is_low_and_dark_where_it_is_high(page: Page, mesh: Mesh) -> None:
    said = depth("ruler", metres=(0.5, 8.0))
    async with camera(mesh.bus, "depths", plain(), answer=lambda _: [said]):
        await page.goto("/?models=ruler&camera=depths")
        await expect(tile(page, "depths")).to_have_attribute("data-answers", "ruler:0")
        image = await painted(page, "depths")
        words = tile(page, "depths").get_by_role("img", name=re.compile(r"^depths. ruler: depth 0\.500 . 8\.00$"))
        await expect(words).to_be_visible()
    # A fifth of the grey frame shows through the scale, whose ends and middle are these.
    through = [
        tuple(round(0.8 * ramp + 0.2 * 128) for ramp in one) for one in ((252, 253, 191), (181, 57, 117), (0, 0, 4))
    ]
    for x, wanted in zip((4, WIDTH // 2, WIDTH - 5), through, strict=True):
        assert alike(pixel(image, x, 100), wanted)


async def test_the_joints_of_each_person_are_drawn_where_they_are_with_the_bones_between(
    page: Page, mesh: Mesh
) -> None:
    said = pose(
        "bones",
        {"left_shoulder": (100, 80, 0.9), "right_shoulder": (240, 80, 0.9), "left_elbow": (100, 200, 0.1)},
        {"Left Hip": (400, 120, 0.8), "Left Knee": (400, 240, 0.7)},
    )
    async with camera(mesh.bus, "joints", plain(), answer=lambda _: [said]):
        await page.goto("/?models=bones&camera=joints")
        await expect(tile(page, "joints")).to_have_attribute("data-answers", "bones:0")
        image = await painted(page, "joints")
    for x, y in [(100, 80), (240, 80), (170, 80)]:  # the first person's are green, the other's orange
        red, green, blue = pixel(image, x, y)
        assert min(green, blue) > red + 20
    for x, y in [(400, 120), (400, 240), (400, 180)]:
        red, green, blue = pixel(image, x, y)
        assert red > green > blue + 20
    unsure_or_apart = [(100, 200), (100, 140), (320, 100), (240, 200)]
    assert not any(coloured(image, x, y) for x, y in unsure_or_apart)


async def test_two_models_stand_side_by_side_on_the_same_frame(page: Page, mesh: Mesh) -> None:
    await page.goto("/?models=left,right&camera=both&split=1")
    await heard(page, mesh, "both")
    said = {
        "left": boxes("left", ("cat", 0.9, (40, 40, 200, 200))),
        "right": boxes("right", ("dog", 0.9, (400, 40, 600, 200))),
    }
    first = FrameId("both", time.time_ns())
    second = FrameId("both", first.captured_ns + 100_000_000)
    await send(mesh.bus, first, plain(60))
    for answer in said.values():
        await say(mesh.bus, first, answer)
    await send(mesh.bus, second, plain(160))
    await say(mesh.bus, second, said["left"])  # of which only one has spoken
    await expect(tile(page, "both")).to_have_attribute("data-frame", str(first))
    await expect(tile(page, "both")).to_have_attribute("data-answers", "left:0 right:0")
    await seen_side_by_side(page, shade=60)
    await say(mesh.bus, second, said["right"])
    await expect(tile(page, "both")).to_have_attribute("data-frame", str(second))
    await expect(tile(page, "both")).to_have_attribute("data-answers", "left:0 right:0")
    await seen_side_by_side(page, shade=160)


async def seen_side_by_side(page: Page, *, shade: int) -> None:
    """On the left what `left` says, on the right what `right` says, and both on a frame of that grey."""
    panels = [await painted(page, "both", panel=number) for number in range(2)]
    assert all(alike(pixel(panel, 300, 240), (shade, shade, shade)) for panel in panels)
    assert [coloured(panel, 40, 120) for panel in panels] == [True, False]
    assert [coloured(panel, 400, 120) for panel in panels] == [False, True]


async def test_an_answer_is_drawn_on_the_very_frame_that_it_is_about(page: Page, mesh: Mesh) -> None:
    await page.goto("/?models=slow")
    await heard(page, mesh, "late")
    frames = [FrameId("late", time.time_ns() + later * 100_000_000) for later in range(4)]
    await send(mesh.bus, frames[0], plain(60))
    await say(mesh.bus, frames[0], text("slow", "dark grey"))
    await expect(tile(page, "late")).to_have_attribute("data-answers", "slow:0")
    for frame_id, shade in zip(frames[1:], (90, 120, 150), strict=True):
        await send(mesh.bus, frame_id, plain(shade))
    await say(mesh.bus, frames[1], text("slow", "a lighter one"))
    await expect(tile(page, "late")).to_have_attribute("data-frame", str(frames[1]))
    await expect(tile(page, "late")).to_have_attribute("data-answers", "slow:0")
    shown = (await painted(page, "late")).getpixel((320, 100))
    assert isinstance(shown, tuple)
    assert abs(shown[0] - 90) < 4


async def test_an_answer_to_an_older_frame_is_marked_as_older(page: Page, mesh: Mesh) -> None:
    await page.goto("/?models=slow")
    await heard(page, mesh, "behind")
    spoken_of = await publish(mesh.bus, "behind", plain())
    await say(mesh.bus, spoken_of, text("slow", "grey"))
    await expect(tile(page, "behind")).to_have_attribute("data-answers", "slow:0")
    newer = FrameId("behind", spoken_of.captured_ns + 3_500_000_000)
    await send(mesh.bus, newer, plain(40))
    await expect(tile(page, "behind")).to_have_attribute("data-frame", str(newer))
    await expect(tile(page, "behind")).to_have_attribute("data-answers", "slow:3500")


async def test_a_frame_without_an_id_is_matched_with_what_is_said_of_it(page: Page, mesh: Mesh) -> None:
    """Any NATS client is a camera: the stream names its frames, which whoever listens does not hear."""
    await page.goto(f"/?models={MODEL}&camera=bare")

    await heard(page, mesh, "bare")

    async def answered() -> bool:
        await mesh.bus.js.publish(subject("bare"), plain(40))
        return await tile(page, "bare").get_attribute("data-answers") == f"{MODEL}:0"

    await until(answered, seconds=60)


async def test_a_model_of_the_address_that_is_not_deployed_can_be_left_out(page: Page, mesh: Mesh) -> None:
    said = [text("gone", "a word")]
    async with camera(mesh.bus, "linked", plain(), answer=lambda _: said):
        await page.goto("/?models=gone&camera=linked")
        await expect(tile(page, "linked")).to_have_attribute("data-answers", "gone:0")
        await page.get_by_role("button", name="gone", pressed=True).click()
        await expect(page).to_have_url("/?camera=linked&models=")
        await expect(tile(page, "linked")).to_have_attribute("data-answers", "")


async def test_a_hostile_name_is_drawn_and_never_run(page: Page, mesh: Mesh, shoot: Shoot) -> None:
    said = [boxes("finder", (HOSTILE, 0.9, (20, 120, 620, 270))), text("writer", HOSTILE)]
    async with camera(mesh.bus, "hostile", plain(), answer=lambda _: said):
        await page.goto("/?models=finder,writer&camera=hostile")
        await expect(tile(page, "hostile")).to_have_attribute("data-answers", "finder:0 writer:0")
        canvas = tile(page, "hostile").locator("canvas")
        await expect(canvas).to_have_attribute("aria-label", f"hostile. finder: {HOSTILE[:59]}…; writer: {HOSTILE}")
        await shoot(page, "live-hostile")
        assert await page.title() == "Live · framemesh"
        assert await page.locator("img[src=x]").count() == 0


async def test_a_camera_that_goes_away_says_so_and_comes_back(page: Page, mesh: Mesh) -> None:
    await page.goto("/?models=")
    async with camera(mesh.bus, "door", plain()):
        await expect(tile(page, "door").get_by_text("Live")).to_be_visible()
    await expect(tile(page, "door").get_by_text("Away")).to_be_visible()
    async with camera(mesh.bus, "door", plain()):
        await expect(tile(page, "door").get_by_text("Live")).to_be_visible()


async def test_a_camera_is_looked_at_large_and_left_again_with_the_keyboard(page: Page, mesh: Mesh) -> None:
    said = [boxes("finder", ("cat", 0.9, (160, 90, 480, 270))), text("writer", "a cat")]
    async with (
        camera(mesh.bus, "yard", photo("chelsea"), answer=lambda _: said),
        camera(mesh.bus, "bench", photo("coffee")),
    ):
        await page.goto("/?models=finder,writer&split=1")
        await expect(tile(page, "yard")).to_have_attribute("data-answers", "finder:0 writer:0")
        await page.get_by_role("button", name="Show yard large").press("Enter")
        await expect(page).to_have_url("/?camera=yard&models=finder%2Cwriter&split=1")
        await expect(tile(page, "bench")).to_be_hidden()
        await expect(tile(page, "yard").locator("canvas")).to_have_count(2)
        await expect(page.get_by_role("button", name="All cameras")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(tile(page, "bench")).to_be_visible()
        await expect(page).to_have_url("/?models=finder%2Cwriter&split=1")
        await expect(page.get_by_role("button", name="Show yard large")).to_be_focused()  # not the first one, bench
        await page.go_forward()
        await expect(tile(page, "bench")).to_be_hidden()
        await page.go_back()
        await expect(tile(page, "bench")).to_be_visible()


async def test_a_camera_of_the_address_that_nobody_hears_is_told_with_a_way_back(page: Page, mesh: Mesh) -> None:
    async with camera(mesh.bus, "there", plain()):
        await page.goto("/?camera=nonesuch")
        await expect(page.get_by_text("No camera nonesuch has sent anything")).to_be_visible()
        await page.get_by_role("link", name="All cameras").click()
        await expect(page).to_have_url("/")
        await expect(tile(page, "there")).to_be_visible()


async def test_a_model_that_does_not_answer_yet_says_why_as_a_choice_and_in_its_panel(page: Page, mesh: Mesh) -> None:
    await mesh.client.deploy(parse("coming=example/coming"))
    try:
        async with camera(mesh.bus, "hopeful", plain()):
            await page.goto("/?models=coming,nowhere&camera=hopeful&split=1")
            why = "Waits for a deployer to take it up"
            await expect(page.get_by_role("button", name="coming")).to_contain_text(why)
            panels = tile(page, "hopeful").locator("canvas")
            await expect(panels.nth(0)).to_have_attribute("aria-label", f"hopeful. coming: {why}")
            await expect(panels.nth(1)).to_have_attribute("aria-label", "hopeful. nowhere: not deployed")
    finally:
        await mesh.client.delete("coming")
