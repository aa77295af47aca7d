import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from PIL import Image
from structlog.testing import capture_logs

from framemesh.errors import ConfigurationError
from framemesh.limits import MAX_IMAGE_BYTES
from framemesh.rpc.status import from_rpc_error
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.inference_service_pb2 import GetModelMetadataRequest, InferRequest, InferResponse
from model_server import exporting
from model_server.artifacts import RuntimeName, read_manifest
from model_server.building import Order, build
from model_server.inference import Model
from tests.model_server import tiny
from tests.model_server.servers import Client, encoded, listening, serving, settings
from tests.pictures import png_bomb


@pytest.fixture(scope="module")
async def client(vit: Path, cache: Path) -> AsyncIterator[Client]:
    async with serving(settings(vit, cache)) as client:
        yield client


@pytest.fixture(scope="module")
def slow_image(chelsea: Image.Image) -> bytes:
    """An image that takes a quarter of a second to decode: WebP can't be scaled in decoding."""
    return encoded(chelsea.resize((3000, 3000)), "WEBP", quality=30, method=0)


async def ask(client: Client, image: bytes, timeout: float | None = 20, **options: Any) -> InferResponse:
    response: InferResponse = await client.stub.Infer(InferRequest(image=image, **options), timeout=timeout)
    return response


async def refused(call: Any) -> tuple[grpc.StatusCode, str, str]:
    """Code, reason and message of the error that the call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = from_rpc_error(caught.value)
    return caught.value.code(), error.reason, str(error)


async def page(client: Client, name: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{client.http_port}/{name}") as got:
        return got.status, await got.text()


async def counted(client: Client, outcome: str) -> float:
    _, text = await page(client, "metrics")
    prefix = f'framemesh_model_server_requests_total{{model="tiny",outcome="{outcome}"}} '
    return next(float(line.removeprefix(prefix)) for line in text.splitlines() if line.startswith(prefix))


@pytest.mark.parametrize(
    ("kind", "runtime"), [("vit", "onnx"), ("vit", "torch"), ("convnext", "onnx"), ("mobilenet", "torch")]
)
async def test_answers_are_those_of_transformers_pipeline(
    kind: str,
    runtime: RuntimeName,
    source: Callable[[str], Path],
    prepared: Callable[..., Path],
    cache: Path,
    photos: Path,
) -> None:
    folder = source(kind)
    prepared(kind, runtime=runtime)  # in this process, which has torch already
    async with serving(settings(folder, cache, model_runtime=runtime, max_batch=2)) as client:
        for name in ("chelsea.png", "coffee.png", "astronaut.png"):
            await _compare(client, folder, photos / name, tolerance=1e-4)


async def test_the_demo_model_answers_as_transformers_pipeline(lite0: Path, cache: Path, photos: Path) -> None:
    async with serving(settings(lite0, cache, max_batch=2)) as client:
        for name in ("chelsea.png", "coffee.png", "rocket.jpg"):  # none of them large enough to be scaled
            await _compare(client, lite0, photos / name, tolerance=1e-3)
        answer = await ask(client, (photos / "chelsea.png").read_bytes())
        best = answer.answer.classification.labels[0]
        assert (best.index, best.name) == (285, "Egyptian cat")
        assert best.score == pytest.approx(0.77, abs=0.02)


async def test_an_answer_says_who_gave_it_and_where_the_time_went(
    client: Client, vit: Path, cache: Path, chelsea: Image.Image
) -> None:
    answer = await ask(client, encoded(chelsea), model="tiny")
    assert answer.model_version == read_manifest(build(Order(str(vit), cache))).version
    assert answer.timing.batch_size == 1
    assert answer.timing.queue_duration.ToNanoseconds() >= 0
    for stage in ("preprocess", "inference", "postprocess"):
        assert 0 < getattr(answer.timing, f"{stage}_duration").ToNanoseconds() < 5e9


async def test_as_many_classes_are_named_as_are_asked_for(client: Client, chelsea: Image.Image) -> None:
    image = encoded(chelsea)
    for asked, named in ((0, 5), (1, 1), (3, 3), (1000, 10)):
        answer = await ask(client, image, options=AnswerOptions(max_label_count=asked))
        assert len(answer.answer.classification.labels) == named
    code, reason, message = await refused(ask(client, image, options=AnswerOptions(max_label_count=1001)))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert "1001" in message


async def test_the_model_describes_itself(client: Client, vit: Path) -> None:
    described = await client.stub.GetModelMetadata(GetModelMetadataRequest())
    assert (described.model, described.task, described.runtime) == ("tiny", "image-classification", "onnx")
    assert (described.precision, described.preprocessing, described.fallback_reason) == ("fp32", "fast", "")
    assert described.source == str(vit)
    assert list(described.labels) == [f"kind {index}" for index in range(10)]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "INVALID_IMAGE"),
        (b"a text", "INVALID_IMAGE"),
        (png_bomb(60000, 60000), "IMAGE_TOO_LARGE"),
        (bytes(MAX_IMAGE_BYTES + 1), "IMAGE_TOO_LARGE"),
    ],
    ids=["empty", "text", "bomb", "oversized"],
)
async def test_what_is_no_image_is_refused_with_the_reason(client: Client, image: bytes, reason: str) -> None:
    before = await counted(client, "invalid")
    code, got, _ = await refused(ask(client, image))
    assert (code, got) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert await counted(client, "invalid") == before + 1


async def test_a_truncated_jpeg_is_refused(client: Client, chelsea: Image.Image) -> None:
    body = encoded(chelsea, "JPEG")
    code, reason, _ = await refused(ask(client, body[: len(body) // 2]))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_IMAGE")


async def test_another_model_is_not_found(client: Client, chelsea: Image.Image) -> None:
    code, reason, message = await refused(ask(client, encoded(chelsea), model="vit-base"))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert message == "no model 'vit-base' here; serving: tiny"


async def test_a_full_queue_refuses(vit: Path, cache: Path, slow_image: bytes) -> None:
    async with serving(settings(vit, cache, workers=1, max_batch=1, max_queue=1)) as client:
        calls = [asyncio.create_task(ask(client, slow_image)) for _ in range(4)]
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION)
        code, reason, message = await refused(next(call for call in done if call.exception()))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert "full (1 wait)" in message
        await asyncio.wait(calls)
        assert await counted(client, "refused") == len([call for call in calls if call.exception()])


async def test_a_call_whose_deadline_passes_is_counted(client: Client, slow_image: bytes) -> None:
    before = await counted(client, "expired")
    calls = [asyncio.create_task(ask(client, slow_image)) for _ in range(3)]
    code, _, _ = await refused(ask(client, slow_image, timeout=0.1))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(20):
        while await counted(client, "expired") < before + 1:
            await asyncio.sleep(0.005)
    await asyncio.gather(*calls)


async def test_a_cancelled_call_is_counted(client: Client, slow_image: bytes) -> None:
    before = await counted(client, "cancelled")
    calls: list[Any] = [client.stub.Infer(InferRequest(image=slow_image)) for _ in range(40)]
    async with asyncio.timeout(60):
        while 'framemesh_model_server_queued_images{model="tiny"} 0.0' in (await page(client, "metrics"))[1]:
            await asyncio.sleep(0.005)
        for call in calls:
            call.cancel()
        while await counted(client, "cancelled") == before:
            await asyncio.sleep(0.005)


async def test_a_call_without_a_deadline_is_answered(client: Client, chelsea: Image.Image) -> None:
    assert (await ask(client, encoded(chelsea), timeout=None)).answer.classification.labels


async def test_calls_at_once_run_together_and_are_all_answered_alike(
    vit: Path, cache: Path, chelsea: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "warm_up", lambda _, max_batch: max_batch)  # how fast this machine is plays no part
    image = encoded(chelsea)
    async with serving(settings(vit, cache)) as client:
        answers = await asyncio.gather(*(ask(client, image) for _ in range(40)))
    assert len({answer.answer.classification.labels[0].index for answer in answers}) == 1
    assert max(answer.timing.batch_size for answer in answers) > 1


async def test_every_metric_is_there_from_the_start(vit: Path, cache: Path) -> None:
    async with listening(settings(vit, cache, model_name="new")) as client:
        _, text = await page(client, "metrics")
    for outcome in ("succeeded", "invalid", "refused", "expired", "cancelled", "failed"):
        assert f'framemesh_model_server_requests_total{{model="new",outcome="{outcome}"}} 0.0' in text
    for stage in ("request", "queue", "preprocess", "inference", "postprocess"):
        assert f'framemesh_model_server_{stage}_duration_seconds_count{{model="new"}} 0.0' in text


async def test_answers_are_counted_and_timed(client: Client, chelsea: Image.Image) -> None:
    before = await counted(client, "succeeded")
    await ask(client, encoded(chelsea))
    assert await counted(client, "succeeded") == before + 1
    _, text = await page(client, "metrics")
    assert 'framemesh_model_server_model_info{model="tiny",precision="fp32",runtime="onnx",task="image-cl' in text
    assert 'framemesh_model_server_fallback{model="tiny"} 0.0' in text
    for name in ("request_duration_seconds", "queue_duration_seconds", "preprocess_duration_seconds", "batch_images"):
        (line,) = (line for line in text.splitlines() if line.startswith(f"framemesh_model_server_{name}_count"))
        assert float(line.split()[-1]) >= 1


async def test_a_model_that_runs_otherwise_than_asked_says_so_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chelsea: Image.Image
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise exporting.NotExportableError("torch can't export it: reasons of its own")

    source = tiny.make("vit", tmp_path / "vit")
    monkeypatch.setattr(exporting, "export", refused)
    build(Order(str(source), tmp_path))
    with capture_logs() as logs:
        async with serving(settings(source, tmp_path)) as client:
            described = await client.stub.GetModelMetadata(GetModelMetadataRequest())
            _, text = await page(client, "metrics")
            assert (await ask(client, encoded(chelsea))).answer.classification.labels
    reason = "onnx was asked for, but torch can't export it: reasons of its own"
    assert (described.runtime, described.fallback_reason) == ("torch", reason)
    assert 'framemesh_model_server_fallback{model="tiny"} 1.0' in text
    assert {"event": "model.fallback", "log_level": "warning", "model": "tiny", "reason": reason} in logs


async def test_until_the_model_is_up_calls_are_put_off(vit: Path, tmp_path: Path, chelsea: Image.Image) -> None:
    async with listening(settings(vit, tmp_path)) as client:
        code, reason, message = await refused(ask(client, encoded(chelsea)))
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_UNAVAILABLE")
        assert "preparing" in message
        assert await page(client, "healthz") == (503, "model: preparing\n")
        assert await counted(client, "refused") == 1


async def test_once_the_model_is_up_the_server_is_healthy(client: Client) -> None:
    assert await page(client, "healthz") == (200, "ok\n")


async def test_a_model_that_cannot_be_served_ends_the_server_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no config\.json"):
        async with listening(settings(tmp_path, tmp_path)):
            await asyncio.Event().wait()


async def _compare(client: Client, folder: Path, photo: Path, *, tolerance: float) -> None:
    """Ask about the photo without loss, and compare with transformers' own answer."""
    image = Image.open(photo).convert("RGB")
    expected = _pipeline(folder)(image)
    answer = await ask(client, encoded(image))
    got = answer.answer.classification.labels
    assert [label.name for label in got] == [label["label"] for label in expected]
    for label, theirs in zip(got, expected, strict=True):
        assert label.score == pytest.approx(theirs["score"], abs=tolerance)


def _pipeline(folder: Path) -> Any:
    from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

    return pipeline(  # type: ignore[call-overload]  # it knows no image processors of unknown type
        "image-classification",
        model=AutoModelForImageClassification.from_pretrained(folder),
        image_processor=AutoImageProcessor.from_pretrained(folder, backend="pil"),  # type: ignore[no-untyped-call]
    )
