import asyncio
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from framemesh.bus import Bus
from framemesh.client import AsyncClient, Client
from framemesh.errors import (
    ImageTooLargeError,
    InternalError,
    InvalidImageError,
    InvalidNameError,
    InvalidRequestError,
    InvalidSpecError,
    ModelExistsError,
    ModelNotFoundError,
    ModelUnavailableError,
)
from framemesh.lake import Lake
from framemesh.limits import MAX_IMAGE_BYTES
from framemesh.specs import parse
from framemesh.v1.analysis_service_pb2 import AnalyzeRequest
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.inference_service_pb2 import Priority
from framemesh.v1.model_pb2 import ModelSpec, Precision
from framemesh.v1.result_pb2 import Result
from gateway.app import gateway
from gateway.settings import GatewaySettings
from tests.gateway.conftest import publish, serving_model, until
from tests.pictures import jpeg, png_bomb


async def ready(client: AsyncClient, *names: str) -> None:
    async def all_serve() -> bool:
        models = {model.spec.name: model for model in await client.models()}
        return all(name in models and models[name].replicas for name in names)

    await until(all_serve)


async def test_one_call_asks_all_models(client: AsyncClient, bus: Bus) -> None:
    async with serving_model(bus, "one"), serving_model(bus, "two"):
        for name in ("two", "one"):
            await client.deploy(parse(f"{name}=x"))
        await ready(client, "one", "two")
        response = await client.analyze(jpeg(1))
        assert [answer.model for answer in response.answers] == ["one", "two"]
        assert {answer.answer.classification.labels[0].name for answer in response.answers} == {f"{len(jpeg(1))} bytes"}
        only = await client.analyze(jpeg(1), models=["two"])
        assert [answer.model for answer in only.answers] == ["two"]
    for name in ("one", "two"):
        await client.delete(name)


async def test_what_is_asked_of_the_answers_reaches_the_models_and_goes_before_frames(
    client: AsyncClient, bus: Bus
) -> None:
    async with serving_model(bus, "asked") as model:
        await client.deploy(parse("asked=x,policy=every"))
        await ready(client, "asked")
        asked = AnswerOptions(max_label_count=3, candidate_labels=["a cat", "a dog"], min_score=0.25)
        await client.analyze(jpeg(1), options=asked)
        await client.analyze(jpeg(1))
        full, plain = model.requests
        options = full.options
        assert (options.max_label_count, list(options.candidate_labels)) == (3, ["a cat", "a dog"])
        assert options.min_score == 0.25
        assert plain.options == AnswerOptions()
        assert not plain.options.HasField("min_score")
        assert full.priority == plain.priority == Priority.PRIORITY_INTERACTIVE
    await client.delete("asked")


async def test_a_model_that_fails_has_its_error_beside_the_others_answers(client: AsyncClient, bus: Bus) -> None:
    async with serving_model(bus, "good"), serving_model(bus, "bad") as bad, serving_model(bus, "late") as late:
        bad.fails = lambda _: InternalError("broken")
        late.open_gate.clear()
        for name in ("good", "bad", "late", "nowhere"):
            await client.deploy(parse(f"{name}=x,policy=fps=0.001"))
        await ready(client, "good", "bad", "late")
        await until(lambda: has_model(client, "nowhere"))
        response = await client.analyze(jpeg(), timeout=1.0)
        answers = {answer.model: answer for answer in response.answers}
        assert answers["good"].HasField("answer")
        reasons = {name: answer.error.reason for name, answer in answers.items() if answer.HasField("error")}
        assert reasons == {"bad": "INTERNAL", "late": "DEADLINE_EXCEEDED", "nowhere": "MODEL_UNAVAILABLE"}
    for name in answers:
        await client.delete(name)


async def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(client: AsyncClient, bus: Bus) -> None:
    async with serving_model(bus, "known"):
        await client.deploy(parse("known=x"))
        await ready(client, "known")
        with pytest.raises(ModelNotFoundError, match="known"):
            await client.analyze(jpeg(), models=["known", "unknown"])
    await client.delete("known")


async def test_no_model_at_all_says_so(client: AsyncClient) -> None:
    await until(lambda: no_models(client))
    with pytest.raises(ModelUnavailableError, match="no model is deployed"):
        await client.analyze(jpeg())


@pytest.mark.parametrize("body", [b"", b"just text", jpeg(1, (640, 480))[:-300]])
async def test_what_is_no_image_is_refused(client: AsyncClient, body: bytes) -> None:
    with pytest.raises(InvalidImageError):
        await client.analyze(body)


async def test_what_is_too_large_is_refused_by_client_and_server(client: AsyncClient) -> None:
    with pytest.raises(ImageTooLargeError):
        await client.analyze(png_bomb(60_000, 60_000))
    with pytest.raises(ImageTooLargeError):
        await client.analyze(b"\xff\xd8" + b"\0" * MAX_IMAGE_BYTES)  # the client does not even send it
    with pytest.raises(ImageTooLargeError):
        await raw_analyze(client, AnalyzeRequest(image=b"\xff\xd8" + b"\0" * MAX_IMAGE_BYTES))


async def test_a_request_without_an_image_says_what_to_set(client: AsyncClient) -> None:
    with pytest.raises(InvalidRequestError, match="object_key"):
        await raw_analyze(client, AnalyzeRequest())


async def test_an_image_that_every_model_finds_broken_is_the_callers_fault(client: AsyncClient, bus: Bus) -> None:
    async with serving_model(bus, "strict") as model:
        model.fails = lambda _: InvalidImageError("damaged")
        await client.deploy(parse("strict=x,policy=fps=0.001"))
        await ready(client, "strict")
        with pytest.raises(InvalidImageError, match="damaged"):
            await client.analyze(jpeg())
    await client.delete("strict")


async def test_a_stored_frame_is_analysed_by_its_key(client: AsyncClient, bus: Bus, lake: Lake) -> None:
    async with serving_model(bus, "reader"):
        await client.deploy(parse("reader=x"))
        await ready(client, "reader")
        frame_id = await publish(bus, "keyed", jpeg(9))
        await until(lambda: has_keys(lake, "keyed/"))
        (key,) = await lake.keys("keyed/")
        response = await client.analyze(object_key=key)
        assert response.frame.frame_id == str(frame_id)
        assert response.frame.object_key == key
        assert response.answers[0].answer.classification.labels[0].name == f"{len(jpeg(9))} bytes"
    await client.delete("reader")


async def test_watchers_get_the_results_that_they_asked_for(client: AsyncClient, bus: Bus) -> None:
    async with serving_model(bus, "seer"):
        await client.deploy(parse("seer=x,policy=every"))
        await ready(client, "seer")
        watching = client.watch_results(models=["seer"], cameras=["porch"])
        first: asyncio.Task[Result] = asyncio.create_task(anext(watching))  # type: ignore[arg-type]
        while not first.done():
            await publish(bus, "street", jpeg(1))
            await publish(bus, "porch", jpeg(2))
            await asyncio.sleep(0.1)
        assert (first.result().frame.camera, first.result().answer.model) == ("porch", "seer")
    await client.delete("seer")


async def test_watching_a_name_that_cannot_be_is_refused(client: AsyncClient) -> None:
    with pytest.raises(InvalidNameError):
        await anext(client.watch_results(cameras=["*"]))


async def test_models_are_deployed_scaled_and_deleted(client: AsyncClient) -> None:
    words = ["a cat", "Zebrastreifen"]
    spec = await client.deploy(ModelSpec(name="thing", source="a/b", task="depth-estimation", candidate_labels=words))
    assert (spec.replicas, spec.policy.WhichOneof("policy")) == (1, "latest")
    await until(lambda: has_model(client, "thing"))
    (model,) = await client.models()
    assert (model.spec.task, list(model.spec.candidate_labels)) == ("depth-estimation", words)
    assert model.spec.precision == Precision.PRECISION_FP32
    assert (await client.scale("thing", 3)).replicas == 3
    with pytest.raises(InvalidSpecError, match="replicas"):
        await client.scale("thing", 65)
    with pytest.raises(InvalidSpecError, match="source"):
        await client.deploy(ModelSpec(name="thing"))
    with pytest.raises(ModelNotFoundError, match="thing"):
        await client.scale("other", 1)
    await client.delete("thing")
    await until(lambda: no_models(client))
    with pytest.raises(ModelNotFoundError):
        await client.delete("thing")


async def test_the_client_for_threads_does_the_same(settings: GatewaySettings, bus: Bus) -> None:
    async with serving_model(bus, "sync"), gateway(settings) as running:

        def use() -> list[str]:
            with Client(f"127.0.0.1:{running.grpc_port}") as client:
                client.deploy(parse("sync=x"), expected_generation=0)
                with pytest.raises(ModelExistsError, match="'sync' is deployed already"):
                    client.deploy(parse("sync=y"), expected_generation=0)
                while not any(model.replicas for model in client.models()):
                    pass
                answers = client.analyze(jpeg(), models=["sync"]).answers
                with pytest.raises(InvalidImageError):
                    client.analyze(b"text")
                client.delete("sync")
                return [answer.model for answer in answers]

        assert await asyncio.to_thread(use) == ["sync"]


async def test_every_metric_is_on_the_page(settings: GatewaySettings) -> None:
    async with gateway(settings) as running:
        page = await asyncio.to_thread(get, f"http://127.0.0.1:{running.http_port}/metrics")
        assert await asyncio.to_thread(get, f"http://127.0.0.1:{running.http_port}/healthz") == "ok\n"
    names = {family.name for family in text_string_to_metric_families(page)}
    assert {"framemesh_gateway_frames", "framemesh_gateway_store_duration_seconds"} <= names


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310 - our own address
        return str(response.read().decode())


async def raw_analyze(client: AsyncClient, request: AnalyzeRequest) -> None:
    import grpc

    from framemesh.rpc.status import from_rpc_error

    try:
        await client._analysis.Analyze(request, timeout=5)
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


async def has_keys(lake: Lake, prefix: str) -> bool:
    return bool(await lake.keys(prefix))


async def has_model(client: AsyncClient, name: str) -> bool:
    return any(model.spec.name == name for model in await client.models())


async def no_models(client: AsyncClient) -> bool:
    return not await client.models()
