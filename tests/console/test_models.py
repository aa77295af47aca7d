"""The page Models in a real browser, on a real mesh: deploying, scaling, replacing, deleting, and what it says."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from framemesh.bus import encoding
from framemesh.bus.streams import DEPLOYMENTS_BUCKET
from framemesh.client import AsyncClient
from framemesh.errors import PermissionDeniedError
from framemesh.frames import timestamp
from framemesh.specs import parse
from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from framemesh.v1.model_pb2 import DeploymentStatus, Model, ModelSpec, Release
from framemesh.v1.service_pb2 import LogLine
from tests.console.conftest import MODEL, VIEWER, Mesh, Shoot
from tests.deployer.conftest import deploying
from tests.gateway.conftest import has_consumer, publish
from tests.gateway.conftest import until as until_true
from tests.pictures import jpeg

until = partial(until_true, seconds=60.0)
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
expect.set_options(timeout=60_000)


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def as_before(mesh: Mesh) -> AsyncIterator[None]:
    """Takes back what a test deployed and told."""
    yield
    bucket = await mesh.bus.js.key_value(DEPLOYMENTS_BUCKET)
    for model in await mesh.client.models():
        name = model.spec.name
        await bucket.delete(name)
        if name != MODEL:
            await mesh.client.delete(name)

    async def alone() -> bool:
        found = await mesh.client.models()
        return [model.spec.name for model in found] == [MODEL] and not found[0].HasField("status")

    await until(alone)


def card(page: Page, model: str) -> Locator:
    return page.locator(f'li[data-model="{model}"]')


async def deployed(mesh: Mesh, model: str) -> Model | None:
    return next((found for found in await mesh.client.models() if found.spec.name == model), None)


def asked(model: Model) -> ModelSpec:
    """What somebody wants of a model, without who and when."""
    spec = ModelSpec()
    spec.CopyFrom(model.spec)
    spec.ClearField("origin")
    return spec


async def tell(mesh: Mesh, model: str, phase: str, progress: float = 0.0, message: str = "", serving: str = "") -> None:
    """Say how far a deployment is, as a deployer would, and from where what serves comes."""
    found = await until(lambda: deployed(mesh, model))
    status = DeploymentStatus(
        phase=Phase.Value(f"DEPLOYMENT_PHASE_{phase}"), progress=progress, message=message,
        generation=found.generation, next=Release(spec=found.spec),
        serving=Release(spec=parse(f"{model}={serving}")) if serving else None,
    )  # fmt: skip
    await (await mesh.bus.js.key_value(DEPLOYMENTS_BUCKET)).put(model, encoding.dump(status))


async def open_form(page: Page) -> Locator:
    await page.goto("/models")
    await page.get_by_role("button", name="Deploy a model").click()
    form = page.get_by_role("dialog")
    await expect(form.get_by_label("Hugging Face model")).to_be_focused()
    return form


def wrong_field(form: Locator) -> Locator:
    """The one field that shows an error, with its label."""
    return form.locator(".q-field--error")


@pytest.mark.timeout(900)  # torch is imported three times: here, to prepare the model, and to serve it
async def test_a_model_folder_goes_from_the_form_to_an_answer_and_tells_its_log(
    mesh: Mesh, page: Page, tmp_path: Path
) -> None:
    folder = await asyncio.to_thread(small_model, tmp_path / "tiny-vit")
    async with deploying(tmp_path, {**mesh.variables, "FRAMEMESH_WORKERS": "1"}):
        form = await open_form(page)
        await form.get_by_label("Hugging Face model").fill(str(folder))
        await form.get_by_role("button", name="Every frame").click()
        await form.get_by_role("button", name='Expand "More"').click()
        await form.get_by_label("Runtime").click()
        await page.get_by_role("option", name="PyTorch").click()  # spares the export
        await form.get_by_role("button", name="Deploy", exact=True).click()
        await expect(form).to_be_hidden()
        shown = card(page, "tiny-vit")
        await expect(shown.get_by_role("progressbar")).to_be_visible()
        await expect(shown.get_by_role("status")).to_have_text("Ready", timeout=600_000)
        await expect(shown.get_by_role("progressbar")).to_be_hidden()
        await publish(mesh.bus, "gate", jpeg())
        await expect(shown).to_contain_text("gate: kind ")
        await page.get_by_role("link", name="Watch tiny-vit").click()
        await expect(page.get_by_role("button", name="tiny-vit", exact=True)).to_have_attribute("aria-pressed", "true")
        await page.go_back()
        await page.get_by_role("button", name="Log of tiny-vit").click()
        await mesh.client.scale("tiny-vit", 0)
        await expect(page.get_by_role("log")).to_contain_text("deployment.ready")
        await mesh.client.delete("tiny-vit")
        await expect(shown).to_have_count(0)


def small_model(folder: Path) -> Path:
    """A Hugging Face model folder. To be called in a thread: importing transformers takes seconds."""
    from tests.model_server import tiny

    return tiny.make("vit", folder)


async def test_an_empty_mesh_offers_a_model_that_takes_one_click(mesh: Mesh, page: Page, shoot: Shoot) -> None:
    await page.goto("/models")
    await publish(mesh.bus, "gate", jpeg())
    await expect(card(page, MODEL)).to_contain_text("gate: ")
    await mesh.client.delete(MODEL)
    try:
        await expect(page.get_by_role("main")).to_contain_text("No model is deployed yet")
        await shoot(page, "models-empty")
        await page.get_by_role("button", name="Try demo:efficientnet-lite0").click()
        await expect(card(page, "efficientnet-lite0")).to_contain_text("Waits for a deployer")
        await expect(page.get_by_text("No model is deployed yet")).to_be_hidden()
        found = await until(lambda: deployed(mesh, "efficientnet-lite0"))
        assert asked(found) == parse("demo:efficientnet-lite0")
    finally:
        await until(lambda: taken_back(mesh))
        await mesh.client.deploy(parse(f"{MODEL}=example/{MODEL},policy=every"))
        await until(lambda: has_consumer(mesh.bus, MODEL))
    await expect(card(page, MODEL)).to_contain_text("No answer yet")  # not what the one before said


async def taken_back(mesh: Mesh) -> bool:
    """Whether nothing is left of the model that every test has."""
    return not await has_consumer(mesh.bus, MODEL)


async def test_the_form_says_what_is_wrong_where_it_is_and_how_to_mend_it(mesh: Mesh, page: Page, shoot: Shoot) -> None:
    form = await open_form(page)
    await form.get_by_role("button", name="Deploy", exact=True).click()
    await expect(form).to_contain_text("give a Hugging Face id or the path of a model folder")
    await form.get_by_label("Hugging Face model").fill("no such model!")
    await form.get_by_label("Hugging Face model").blur()
    await expect(wrong_field(form)).to_contain_text("Write an id such as google/vit-base-patch16-224")
    await form.get_by_label("Hugging Face model").fill("google/vit-base-patch16-224")
    servers = form.get_by_label("Servers")
    for wrong in ("999", "1.7", ""):
        await servers.fill(wrong)
        await servers.press("Enter")
        await servers.blur()
        await expect(form).to_contain_text("Write a whole number of servers, from 0 to 64.")
        await expect(servers).to_have_value(wrong)
        await servers.fill("2")
        await servers.blur()
        await expect(form).not_to_contain_text("Write a whole number")
    await form.get_by_role("button", name="Limited rate").click()
    for wrong in ("100000", "-1", ""):
        await form.get_by_label("Frames a second").fill(wrong)
        await form.get_by_role("button", name="Deploy", exact=True).click()
        await expect(form).to_contain_text("Write how many frames a second, from 0.001 to 1000.")
    await form.get_by_role("button", name="Newest frame").click()
    assert [model.spec.name for model in await mesh.client.models()] == [MODEL]
    await form.get_by_role("button", name='Expand "More"').click()
    await form.get_by_label("Name in this mesh").fill("My Model")
    await form.get_by_role("button", name="Deploy", exact=True).click()
    await expect(form).to_contain_text("use 1 to 40 of a-z, 0-9 and '-'")
    await expect(form).not_to_contain_text("give a Hugging Face id")
    await form.get_by_label("Name in this mesh").fill(MODEL)
    await form.get_by_role("button", name="Deploy", exact=True).click()
    await expect(wrong_field(form)).to_contain_text("Name in this mesh")
    await expect(wrong_field(form)).to_contain_text(f"{MODEL} is deployed already: give this one another name")
    await shoot(page, "models-form")
    await form.get_by_label("Name in this mesh").fill("mine")
    await form.get_by_role("button", name="Deploy", exact=True).click()
    await expect(form).to_be_hidden()
    await expect(card(page, "mine")).to_contain_text("Waits for a deployer to take it up")
    found = await deployed(mesh, "mine")
    assert found is not None
    assert asked(found) == parse("mine=google/vit-base-patch16-224,replicas=2")


async def test_everything_of_the_form_goes_into_the_spec_and_a_link_fills_it(mesh: Mesh, page: Page) -> None:
    await page.goto("/models?model=openai%2Fclip,runtime=torch,precision=int8")
    form = page.get_by_role("dialog")
    await expect(form.get_by_label("Hugging Face model")).to_have_value("openai/clip")
    await expect(wrong_field(form)).to_contain_text("Precision")
    await expect(wrong_field(form)).to_contain_text("it needs runtime=onnx, not torch")
    await form.get_by_label("Servers").fill("2")  # leaves the source's field, and the error where it is
    await form.get_by_label("Servers").blur()
    await expect(wrong_field(form)).to_contain_text("Precision")
    await form.get_by_role("button", name="Cancel").click()
    await expect(page).to_have_url("/models")
    await page.goto("/models?model=clip%3Dopenai%2Fclip,label=a%20cat,policy=fps%3D2.5")
    await expect(form.get_by_label("Hugging Face model")).to_have_value("openai/clip")
    await expect(form.get_by_label("Frames a second")).to_have_value("2.5")
    await form.get_by_label("Revision").fill("main")
    await form.get_by_label("Task").fill("zero-shot-image-classification")
    await form.get_by_label("Runtime").click()
    await page.get_by_role("option", name="PyTorch").click()
    await form.get_by_label("Precision").click()
    await page.get_by_role("option", name="bf16").click()
    await form.get_by_role("button", name="Deploy", exact=True).click()
    await expect(form).to_be_hidden()
    await expect(page).to_have_url("/models")
    await page.reload()
    await expect(card(page, "clip")).to_be_visible()
    await expect(form).to_have_count(0)
    found = await until(lambda: deployed(mesh, "clip"))
    assert asked(found) == parse(
        "clip=openai/clip,label=a cat,policy=fps=2.5,revision=main,task=zero-shot-image-classification,"
        "runtime=torch,precision=bf16"
    )


async def test_progress_failures_and_rolling_back_are_shown_as_they_come(mesh: Mesh, page: Page, shoot: Shoot) -> None:
    await page.goto("/models")
    await mesh.client.deploy(parse("detr=facebook/detr-resnet-50,policy=fps=2,camera=gate,camera=yard"))
    await mesh.client.deploy(parse("depth=LiheYoung/depth-anything-small-hf"))
    shown = card(page, "detr")
    await tell(mesh, "detr", "DOWNLOADING", 0.42)
    await expect(shown).to_contain_text("Downloading")
    await expect(shown.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "0.42")
    await tell(mesh, "depth", "FAILED", message=f"model source {HOSTILE} is not known at the hub: check the name")
    await expect(card(page, "depth")).to_contain_text(f"model source {HOSTILE} is not known")
    await expect(card(page, "depth")).to_contain_text("use Replace")
    await tell(mesh, MODEL, "ROLLED_BACK", message="its graph is none", serving="example/before")
    await expect(card(page, MODEL).get_by_role("status")).to_have_text("Rolled back")
    await expect(card(page, MODEL)).to_contain_text(f"example/{MODEL} could not be made ready: what was there before")
    await expect(page.get_by_role("main")).to_contain_text("3 deployed: ")
    await shoot(page, "models")
    await page.get_by_role("button", name=f"Replace {MODEL}").click()
    await expect(page.get_by_label("Hugging Face model")).to_have_value("example/before")
    await page.get_by_role("button", name="Cancel").click()
    await tell(mesh, "detr", "EXPORTING")
    await expect(shown).to_contain_text("Exporting")
    await expect(shown.get_by_role("progressbar")).not_to_have_attribute("aria-valuenow", "0.42")
    assert "pwned" not in await page.title()


async def test_a_model_is_scaled_and_replaced(mesh: Mesh, page: Page) -> None:
    await mesh.client.deploy(parse("vit=google/vit-base-patch16-224,replicas=0"))
    await page.goto("/models")
    await expect(page.get_by_role("button", name="One server fewer for vit")).to_be_disabled()
    for number in (1, 2):
        await page.get_by_role("button", name="One server more for vit").click()
        await expect(card(page, "vit").get_by_role("group")).to_contain_text(str(number))
    found = await deployed(mesh, "vit")
    assert found is not None
    assert found.spec.replicas == 2
    await page.get_by_role("button", name="Replace vit").click()
    form = page.get_by_role("dialog")
    await expect(form.get_by_label("Servers")).to_have_value("2")
    await form.get_by_label("Hugging Face model").fill("google/vit-large-patch16-224")
    await form.get_by_role("button", name="Replace", exact=True).click()
    await expect(form).to_be_hidden()
    await expect(card(page, "vit")).to_contain_text("google/vit-large-patch16-224")
    found = await deployed(mesh, "vit")
    assert found is not None
    assert asked(found) == parse("vit=google/vit-large-patch16-224,replicas=2")
    await page.get_by_role("button", name="Replace vit").click()
    await expect(form.get_by_label("Servers")).to_have_value("2")
    await mesh.client.scale("vit", 3)  # somebody else
    await form.get_by_role("button", name="Replace", exact=True).click()
    await expect(form.get_by_role("alert")).to_contain_text("Somebody changed vit meanwhile")
    await form.get_by_role("button", name="Replace", exact=True).click()
    await expect(form).to_be_hidden()
    found = await deployed(mesh, "vit")
    assert found is not None
    assert found.spec.replicas == 2
    await expect(card(page, "vit").get_by_role("group")).to_contain_text("2")
    await page.get_by_role("button", name="Replace vit").click()
    await expect(form.get_by_label("Servers")).to_have_value("2")
    await mesh.client.delete("vit")
    await form.get_by_role("button", name="Replace", exact=True).click()
    await expect(form.get_by_role("alert")).to_contain_text("vit was deleted meanwhile")
    assert await deployed(mesh, "vit") is None


async def test_deleting_asks_first_by_name_and_escape_leaves_everything_as_it_was(
    mesh: Mesh, page: Page, shoot: Shoot
) -> None:
    await mesh.client.deploy(parse("vit=google/vit-base-patch16-224"))
    await page.goto("/models")
    button = page.get_by_role("button", name="Delete vit")
    await button.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Delete vit?")
    await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(button).to_be_focused()
    assert await deployed(mesh, "vit") is not None
    await button.click()
    await dialog.get_by_role("button", name="Delete vit").click()
    await expect(card(page, "vit")).to_have_count(0)
    await expect(page.get_by_role("button", name="Deploy a model")).to_be_focused()
    assert await deployed(mesh, "vit") is None


async def tell_line(mesh: Mesh, level: str, error: str) -> None:
    """Have a model server log something."""
    line = LogLine(
        time=timestamp(1_790_000_000_000_000_000), service="model_server", instance="box-12", level=level,
        event="model.does_not_answer", model=MODEL, fields={"error": error},
    )  # fmt: skip
    await mesh.bus.client.publish("logs.model_server.box-12", encoding.dump(line))


async def test_hostile_answers_and_log_lines_are_only_words(mesh: Mesh, page: Page, shoot: Shoot) -> None:
    await page.goto("/models")
    await page.get_by_role("button", name=f"Log of {MODEL}").click()
    log = page.get_by_role("log")
    mesh.model.text = HOSTILE
    try:
        await publish(mesh.bus, "gate", jpeg())
        await expect(card(page, MODEL)).to_contain_text(f"gate: {HOSTILE}")
    finally:
        mesh.model.text = None
    levels = ("info", "warning", "error")
    for number in range(3):
        await tell_line(mesh, levels[number], f"{HOSTILE} {number}")
    await expect(log).to_contain_text(f"error={HOSTILE} 2")
    await expect(log.get_by_role("listitem").filter(has_text=HOSTILE)).to_have_count(3)
    await shoot(page, "models-log")
    for number in range(3, 220):
        await tell_line(mesh, "info", f"line {number}")
    await expect(log).to_contain_text("error=line 219")
    await expect(log.get_by_role("listitem")).to_have_count(200)  # as many as the page says it shows
    await page.keyboard.press("Escape")
    assert "pwned" not in await page.title()


async def test_a_viewer_sees_models_and_can_change_none_whatever_the_browser_sends(
    mesh: Mesh, as_viewer: Page, shoot: Shoot
) -> None:
    await as_viewer.goto("/models?model=google/vit-base-patch16-224")
    await expect(card(as_viewer, MODEL)).to_contain_text("Ready")
    await expect(as_viewer.get_by_role("main")).to_contain_text("takes a token of role admin")
    for name in ("Deploy", "Replace", "Delete", "One server"):
        await expect(as_viewer.get_by_role("button", name=name)).to_have_count(0)
    await expect(as_viewer.get_by_role("button", name=f"Log of {MODEL}")).to_be_visible()
    await expect(as_viewer.get_by_role("dialog")).to_have_count(0)
    # All that listens on the page is told that it was used: the form too, which is hidden, filled in and then sent. A
    # one is a source, a name and a number alike, so the form has nothing to complain of and the gateway decides.
    await as_viewer.evaluate(
        """() => {
          const elements = Object.entries(document.getElementById("app")._vnode.component.proxy.elements);
          const listeners = elements.flatMap(([id, {events}]) => events.map((one) => [Number(id), one.listener_id]));
          for (const [id, listener_id] of [...listeners, ...listeners])
            window.socket.emit("event", {id, client_id: window.clientId, listener_id, args: ['"1"']});
        }"""
    )
    await expect(as_viewer.get_by_role("alert").filter(has_text="role admin").first).to_be_visible()
    async with AsyncClient(f"{mesh.variables['FRAMEMESH_ADDRESS']}", token=VIEWER) as forged:
        with pytest.raises(PermissionDeniedError):
            await forged.deploy(parse("forged=google/vit-base-patch16-224"))
        with pytest.raises(PermissionDeniedError):
            await forged.delete(MODEL)
    await as_viewer.goto("/models")  # where one of them has led is nowhere
    await expect(card(as_viewer, MODEL)).to_contain_text("Ready")
    assert [asked(model) for model in await mesh.client.models()] == [parse(f"{MODEL}=example/{MODEL},policy=every")]
