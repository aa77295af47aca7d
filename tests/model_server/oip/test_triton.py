"""NVIDIA's unmodified client against a real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import numpy as np
import pytest
from google.protobuf.json_format import ParseDict
from PIL import Image

from framemesh.errors import InvalidRequestError
from framemesh.limits import MAX_IMAGE_BYTES
from framemesh.oip import grpc_service_pb2, model_config_pb2
from framemesh.oip.grpc_service_pb2 import ModelInferRequest
from framemesh.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from framemesh.rpc.channels import open_channel
from framemesh.rpc.status import from_rpc_error
from framemesh.v1.answer_pb2 import Answer
from framemesh.v1.inference_service_pb2 import InferRequest
from model_server.sources import known_version
from model_server.trust import Trust
from tests.model_server.oip import triton
from tests.model_server.oip.triton import Array, Request, Response, encoded
from tests.model_server.oip.wire import image_tensor, pixel_request
from tests.model_server.servers import Client, listening, serving, settings
from tests.model_server.servers import encoded as picture

PIXELS = np.random.default_rng(7).normal(size=(2, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with triton.started() as pool:
        yield pool


@pytest.fixture(scope="module")
async def client(vit: Path, cache: Path) -> AsyncIterator[Client]:
    async with serving(settings(vit, cache)) as client:
        yield client


@pytest.fixture(scope="module")
def photos_in(photos: Path) -> dict[str, Image.Image]:
    return {name: Image.open(photos / f"{name}.png").convert("RGB") for name in ("chelsea", "coffee", "astronaut")}


@pytest.fixture(scope="module")
def slow_image(chelsea: Image.Image) -> bytes:
    """An image that takes a quarter of a second to decode: WebP can't be scaled in decoding."""
    return picture(chelsea.resize((3000, 3000)), "WEBP", quality=30, method=0)


Call = Callable[..., Any]


@pytest.fixture(scope="module")
def call(pool: ProcessPoolExecutor, client: Client) -> Call:
    """Calls the server from the process of NVIDIA's client, by one of the functions in `triton`."""
    return caller(pool, client)


def version_of(folder: Path) -> str:
    version = known_version(str(folder), "", Trust())
    assert version is not None
    return version


def caller(pool: ProcessPoolExecutor, client: Client) -> Call:
    async def run(function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(pool, function, f"127.0.0.1:{client.grpc_port}", *arguments)

    return run


async def refused(answer: Any) -> tuple[str, str]:
    """Code and message of the error that the call ends with."""
    with pytest.raises(triton.RefusedError) as caught:
        await answer
    return caught.value.code.removeprefix("StatusCode."), caught.value.message


def logits(folder: Path, inputs: Image.Image | Array) -> Array:
    """Those of transformers' own model."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    if isinstance(inputs, Image.Image):
        processor: Any = AutoImageProcessor.from_pretrained(folder, backend="pil")  # type: ignore[no-untyped-call]
        inputs = processor(images=inputs, return_tensors="np")["pixel_values"]
    with torch.inference_mode():
        model: Any = AutoModelForImageClassification.from_pretrained(folder)
        found: Array = model(torch.from_numpy(inputs)).logits.numpy()
    return found


def test_our_messages_are_tritons_field_for_field(pool: ProcessPoolExecutor) -> None:
    files = [module.DESCRIPTOR.serialized_pb for module in (model_config_pb2, grpc_service_pb2)]
    assert pool.submit(triton.differing_fields, files).result() == []


async def test_encoded_images_give_the_outputs_of_transformers_model(
    call: Call, vit: Path, photos_in: dict[str, Image.Image]
) -> None:
    answered: Response = await call(triton.infer, Request(encoded(*map(picture, photos_in.values()))))
    expected = np.concatenate([logits(vit, photo) for photo in photos_in.values()])
    np.testing.assert_allclose(answered.arrays["logits"], expected, atol=1e-4)


async def test_the_typed_answers_are_those_of_our_own_protocol(
    call: Call, client: Client, photos_in: dict[str, Image.Image]
) -> None:
    pictures = [picture(photo) for photo in photos_in.values()]
    answered: Response = await call(triton.infer, Request(encoded(*pictures), outputs=["answer"]))
    assert list(answered.arrays) == ["answer"]
    for image, text in zip(pictures, answered.arrays["answer"], strict=True):
        ours = await client.stub.Infer(InferRequest(image=image), timeout=20)
        labels = ParseDict(json.loads(text), Answer()).classification.labels
        theirs = ours.answer.classification.labels
        assert [label.name for label in labels] == [label.name for label in theirs]
        assert [label.score for label in labels] == pytest.approx([label.score for label in theirs], abs=1e-5)


async def test_the_networks_own_input_gives_the_outputs_of_transformers_model(call: Call, vit: Path) -> None:
    answered: Response = await call(triton.infer, Request({"pixel_values": PIXELS}, options={"request_id": "seven"}))
    np.testing.assert_allclose(answered.arrays["logits"], logits(vit, PIXELS), atol=1e-4)
    assert len(answered.arrays["answer"]) == len(PIXELS)
    assert answered.message["id"] == "seven"


async def test_classification_gives_the_best_classes_as_triton_writes_them(call: Call, vit: Path) -> None:
    wanted = Request({"pixel_values": PIXELS}, outputs=["logits"], classes=3)
    rows = (await call(triton.infer, wanted)).arrays["logits"]
    assert rows.shape == (2, 3)
    for row, expected in zip(rows, logits(vit, PIXELS), strict=True):
        best = np.argsort(-expected)[:3]
        values, indices, names = zip(*(text.decode().split(":") for text in row), strict=True)
        assert [int(index) for index in indices] == best.tolist()
        assert [float(value) for value in values] == pytest.approx(expected[best], abs=1e-4)
        assert list(names) == [f"kind {index}" for index in best]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Request({"pixel_values": PIXELS.astype(np.float64)}), "can't be FP64: send FP32"),
        (Request({"pixel_values": PIXELS[:, :, :30]}), r"can't have shape \[2, 3, 30, 32\]: send \[-1, 3, 32, 32\]"),
        (Request({"pixel_values": PIXELS[0]}), r"can't have shape \[3, 32, 32\]"),
        (Request({"pixel_values": PIXELS[:0]}), r"can't have shape \[0, 3, 32, 32\]"),
        (Request({"pixel_values": PIXELS}, shape=[1, 3, 32, 32]), "has more elements of FP32 than its shape"),
        (Request({"pixel_values": PIXELS}, shape=[3, 3, 32, 32]), "has fewer elements of FP32 than its shape"),
        (Request({"pixel_values": PIXELS * np.float32(np.nan)}), "infinite or no number"),
        (Request({"pixels": PIXELS}), "the inputs are 'pixels': send either 'image' or 'pixel_values'"),
        (Request({}), "the inputs are none"),
        (Request({"pixel_values": PIXELS, **encoded(b"")}), "send either"),
        (Request(encoded(*[b""] * 65)), "65 images are too many: send at most 64"),
        (Request(encoded(b"a text")), "no image that framemesh reads"),
        (Request(encoded(bytes(MAX_IMAGE_BYTES + 1))), "the limit is 8,388,608"),
        (Request(encoded(b"a text"), shape=[2]), "has fewer elements of BYTES than its shape"),
        (Request({"pixel_values": PIXELS}, outputs=["scores"]), "no output 'scores'; there are: logits, answer"),
        (Request({"pixel_values": PIXELS}, outputs=["answer"], classes=3), "can't be classified"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
async def test_what_the_model_cannot_take_is_an_invalid_argument(call: Call, request_: Request, reason: str) -> None:
    code, message = await refused(call(triton.infer, request_))
    assert code == "INVALID_ARGUMENT"
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(message)


async def test_an_oversized_request_is_refused_before_it_is_held(call: Call) -> None:
    code, _ = await refused(call(triton.infer, Request(encoded(bytes(2 * MAX_IMAGE_BYTES + 1)))))
    assert code == "RESOURCE_EXHAUSTED"


async def test_one_broken_image_fails_its_request(call: Call, photos_in: dict[str, Image.Image]) -> None:
    code, _ = await refused(call(triton.infer, Request(encoded(picture(photos_in["coffee"]), b"a text"))))
    assert code == "INVALID_ARGUMENT"


async def test_another_model_or_version_is_not_found(call: Call, vit: Path) -> None:
    version = version_of(vit)
    assert await call(triton.infer, Request({"pixel_values": PIXELS}, options={"model_version": version}))
    code, message = await refused(call(triton.infer, Request({"pixel_values": PIXELS}, model="vit-base")))
    assert (code, message) == ("NOT_FOUND", "no model 'vit-base' here; serving: tiny")
    asked = Request({"pixel_values": PIXELS}, options={"model_version": "2"})
    code, message = await refused(call(triton.infer, asked))
    assert code == "NOT_FOUND"
    assert "no version '2' of model 'tiny' here" in message
    assert (await refused(call(triton.check, "is_model_ready", "vit-base")))[0] == "NOT_FOUND"


async def test_until_the_model_is_up_nothing_is_ready(pool: ProcessPoolExecutor, vit: Path, tmp_path: Path) -> None:
    async with listening(settings(vit, tmp_path)) as client:
        call = caller(pool, client)
        assert await call(triton.check, "is_server_live")
        assert not await call(triton.check, "is_server_ready")
        assert not await call(triton.check, "is_model_ready", "tiny")
        assert (await refused(call(triton.infer, Request({"pixel_values": PIXELS}))))[0] == "UNAVAILABLE"


async def test_once_the_model_is_up_all_is_ready(call: Call) -> None:
    assert await call(triton.check, "is_server_live")
    assert await call(triton.check, "is_server_ready")
    assert await call(triton.check, "is_model_ready", "tiny")


async def test_a_stream_answers_in_order_and_goes_on_after_an_error(
    call: Call, vit: Path, photos_in: dict[str, Image.Image]
) -> None:
    asked = [Request(encoded(picture(photo)), options={"request_id": name}) for name, photo in photos_in.items()]
    asked.insert(1, Request(encoded(b"a text"), options={"request_id": "broken"}))
    asked.insert(3, Request({"pixel_values": PIXELS}, model="vit-base"))
    first, broken, second, unknown, third = await call(triton.stream, asked)
    for answered, (name, photo) in zip((first, second, third), photos_in.items(), strict=True):
        assert answered.message["id"] == name
        assert answered.message["parameters"]["triton_final_response"]["bool_param"]
        np.testing.assert_allclose(answered.arrays["logits"], logits(vit, photo), atol=1e-4)
    assert "no image that framemesh reads" in broken.message
    assert unknown.message == "no model 'vit-base' here; serving: tiny"


async def test_a_stream_of_many_is_answered_whole(call: Call) -> None:
    answered = await call(
        triton.stream, [Request({"pixel_values": PIXELS}, options={"request_id": str(one)}) for one in range(200)]
    )
    assert [one.message["id"] for one in answered] == [str(one) for one in range(200)]


async def test_a_client_timeout_is_a_deadline(call: Call, slow_image: bytes) -> None:
    asked = Request(encoded(*[slow_image] * 4), options={"client_timeout": 0.2})
    assert (await refused(call(triton.infer, asked)))[0] == "DEADLINE_EXCEEDED"


async def test_a_request_that_waits_past_its_timeout_is_given_up(call: Call, photos_in: dict[str, Image.Image]) -> None:
    """The parameter bounds the wait for a worker, as with Triton."""
    asked = Request(encoded(picture(photos_in["chelsea"])), options={"timeout": 1})
    assert (await refused(call(triton.infer, asked)))[0] in {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}


async def test_the_server_says_what_it_offers(call: Call) -> None:
    described = await call(triton.describe, "get_server_metadata")
    assert described["name"] == "framemesh"
    assert set(described["extensions"]) == {
        "classification", "model_configuration", "schedule_policy", "statistics"
    }  # fmt: skip


async def test_the_models_tensors_are_described(call: Call, vit: Path) -> None:
    described = await call(triton.describe, "get_model_metadata", "tiny")
    assert described == {
        "name": "tiny",
        "versions": [version_of(vit)],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": ["-1"]},
            {"name": "pixel_values", "datatype": "FP32", "shape": ["-1", "3", "32", "32"]},
        ],
        "outputs": [
            {"name": "logits", "datatype": "FP32", "shape": ["-1", "10"]},
            {"name": "answer", "datatype": "BYTES", "shape": ["-1"]},
        ],
    }


async def test_the_configuration_is_one_that_load_tools_read(call: Call) -> None:
    described = (await call(triton.describe, "get_model_config", "tiny"))["config"]
    assert (described["backend"], described["max_batch_size"]) == ("onnxruntime", 8)
    assert described["dynamic_batching"] == {}
    image, pixels = described["input"]
    assert image == {"name": "image", "data_type": "TYPE_STRING", "optional": True}
    assert (pixels["data_type"], pixels["dims"]) == ("TYPE_FP32", ["3", "32", "32"])
    assert described["output"][0] == {"name": "logits", "data_type": "TYPE_FP32", "dims": ["10"]}


async def test_statistics_count_what_was_asked(call: Call) -> None:
    async def statistics() -> dict[str, Any]:
        (found,) = (await call(triton.describe, "get_inference_statistics", "tiny"))["model_stats"]
        return dict(found)

    before = await statistics()
    await call(triton.infer, Request({"pixel_values": PIXELS}))
    await refused(call(triton.infer, Request({"pixels": PIXELS})))
    after = await statistics()
    assert int(after["inference_count"]) >= int(before["inference_count"]) + len(PIXELS)
    for name in ("success", "fail"):
        then, now = (each["inference_stats"].get(name, {}) for each in (before, after))
        assert int(now["count"]) == int(then.get("count", 0)) + 1
    assert int(after["inference_stats"]["compute_infer"]["ns"]) > 0
    assert int(after["last_inference"]) >= int(before["last_inference"]) > 0


async def test_the_page_counts_the_same_under_tritons_names(call: Call, client: Client, vit: Path) -> None:
    async def page() -> dict[str, float]:
        url = f"http://127.0.0.1:{client.http_port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as got:
            lines = (await got.text()).splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("nv_")}

    before = await page()
    assert not [name for name in before if name.partition("{")[0].endswith(("_total", "_created"))]
    await call(triton.infer, Request({"pixel_values": PIXELS}))
    await refused(call(triton.infer, Request({"pixels": PIXELS})))
    after = await page()
    labels = f'model="tiny",version="{version_of(vit)}"'
    for name, more in (
        (f"nv_inference_request_success{{{labels}}}", 1),
        (f'nv_inference_request_failure{{model="tiny",reason="OTHER",version="{version_of(vit)}"}}', 1),
        (f'nv_inference_request_failure{{model="tiny",reason="BACKEND",version="{version_of(vit)}"}}', 0),
    ):
        assert after[name] == before[name] + more
    assert after[f"nv_inference_count{{{labels}}}"] >= before[f"nv_inference_count{{{labels}}}"] + len(PIXELS)


async def test_the_service_is_found_by_reflection(client: Client) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    stub: Any = reflection_pb2_grpc.ServerReflectionStub(client.channel)  # type: ignore[arg-type]  # knows no asyncio
    asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService")
    listed = [answer async for answer in stub.ServerReflectionInfo(iter([asked]), timeout=5)]
    assert listed[0].file_descriptor_response.file_descriptor_proto


async def test_a_stream_that_the_server_drains_is_answered_before_it_ends(
    vit: Path, cache: Path, slow_image: bytes
) -> None:
    async with AsyncExitStack() as stack:
        async with serving(settings(vit, cache, workers=1, max_batch=1)) as client:
            channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{client.grpc_port}"))
            calls = GRPCInferenceServiceStub(channel).ModelStreamInfer()
            for number in range(4):
                await calls.write(ModelInferRequest(id=str(number), inputs=[image_tensor(slow_image)]))
            answers: list[Any] = [await calls.read()]  # by now the server has all
        answers += [await calls.read() for _ in range(3)]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await calls.read()
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert [answer.infer_response.id for answer in answers] == ["0", "1", "2", "3"]
    assert all(answer.infer_response.outputs for answer in answers)


async def test_a_typed_request_is_answered_typed(client: Client, vit: Path) -> None:
    stub = GRPCInferenceServiceStub(client.channel)
    response = await stub.ModelInfer(pixel_request(PIXELS, raw=False), timeout=20)
    assert not response.raw_output_contents
    got = np.reshape(response.outputs[0].contents.fp32_contents, response.outputs[0].shape)
    np.testing.assert_allclose(got, logits(vit, PIXELS), atol=1e-4)


async def test_an_input_both_raw_and_typed_is_an_invalid_argument(client: Client) -> None:
    request = pixel_request(PIXELS, raw=False)
    request.raw_input_contents.append(PIXELS.tobytes())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await GRPCInferenceServiceStub(client.channel).ModelInfer(request, timeout=20)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert isinstance(from_rpc_error(caught.value), InvalidRequestError)
