"""`AnalyzeStream` on a real gateway, through both clients and bare."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from framemesh.bus import Bus
from framemesh.client import AsyncClient, Client
from framemesh.errors import InternalError, InvalidRequestError, ModelUnavailableError
from framemesh.lake import Lake
from framemesh.limits import MAX_IMAGE_BYTES
from framemesh.rpc.status import from_rpc_error
from framemesh.specs import parse
from framemesh.v1.analysis_service_pb2 import AnalyzeRequest, AnalyzeStreamRequest, AnalyzeStreamResponse
from framemesh.v1.frame_pb2 import Frame
from gateway.api import STREAM_IMAGES
from gateway.app import gateway
from gateway.settings import GatewaySettings
from tests.gateway.conftest import publish, serving_model, until
from tests.gateway.echo import EchoModel
from tests.pictures import jpeg, png_bomb


async def ready(client: AsyncClient, name: str) -> None:
    """Deploy a model that no frame of a camera reaches, and wait until it answers."""
    await client.deploy(parse(f"{name}=x,policy=fps=0.001"))

    async def serves() -> bool:
        return any(model.spec.name == name and model.replicas for model in await client.models())

    await until(serves)


@pytest.fixture
async def echo(client: AsyncClient, bus: Bus) -> AsyncIterator[EchoModel]:
    async with serving_model(bus, "echo") as model:
        await ready(client, "echo")
        yield model
    await client.delete("echo")


def ask(request_id: str, image: bytes, *, seconds: float | None = None) -> AnalyzeStreamRequest:
    timeout = None
    if seconds is not None:
        timeout = Duration()
        timeout.FromNanoseconds(int(seconds * 1e9))
    request = AnalyzeRequest(image=image, models=["echo"])
    return AnalyzeStreamRequest(request_id=request_id, request=request, timeout=timeout)


def outcome(response: AnalyzeStreamResponse) -> str:
    """The answer or the reason of the error, in a word or two."""
    if response.HasField("error"):
        return response.error.reason
    (answer,) = response.response.answers
    return answer.error.reason if answer.HasField("error") else answer.answer.classification.labels[0].name


Stream = grpc.aio.StreamStreamCall[AnalyzeStreamRequest, AnalyzeStreamResponse]


async def read(stream: Stream) -> AnalyzeStreamResponse:
    response = await stream.read()
    assert isinstance(response, AnalyzeStreamResponse)
    return response


async def read_all(stream: Stream, outcomes: dict[str, str]) -> None:
    while True:
        response = await read(stream)
        outcomes[response.request_id] = outcome(response)


async def test_each_image_is_answered_under_its_own_id(client: AsyncClient, echo: EchoModel) -> None:
    images = {str(number): jpeg(number, (64 + number, 48)) for number in range(100)}
    outcomes = {r.request_id: outcome(r) async for r in client.analyze_stream(images.items(), models=["echo"])}
    assert outcomes == {request_id: f"{len(image)} bytes" for request_id, image in images.items()}


async def test_responses_come_in_the_order_in_which_answers_do(client: AsyncClient, echo: EchoModel) -> None:
    echo.open_gate.clear()
    stream = client._analysis.AnalyzeStream()
    await stream.write(ask("slow", jpeg(1)))
    await stream.write(ask("unknown", b"no image"))
    assert (await read(stream)).request_id == "unknown"
    echo.open_gate.set()
    assert (await read(stream)).request_id == "slow"
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF


async def test_what_is_wrong_with_one_image_is_said_of_it_and_the_stream_goes_on(
    client: AsyncClient, echo: EchoModel, bus: Bus
) -> None:
    async with serving_model(bus, "broken") as broken:
        await ready(client, "broken")
        broken.fails = lambda _: InternalError("broken")
        stream = client._analysis.AnalyzeStream()
        bad = {
            "text": (AnalyzeRequest(image=b"just text"), "INVALID_IMAGE"),
            "cut": (AnalyzeRequest(image=jpeg(1, (640, 480))[:-300]), "INVALID_IMAGE"),
            "bomb": (AnalyzeRequest(image=png_bomb(60_000, 60_000)), "IMAGE_TOO_LARGE"),
            "huge": (AnalyzeRequest(image=b"\xff\xd8" + b"\0" * MAX_IMAGE_BYTES), "IMAGE_TOO_LARGE"),
            "nothing": (AnalyzeRequest(), "INVALID_REQUEST"),
            "no key": (AnalyzeRequest(object_key="nowhere"), "FRAME_NOT_FOUND"),
            "no model": (AnalyzeRequest(image=jpeg(), models=["nonesuch"]), "MODEL_NOT_FOUND"),
        }
        reasons = {}
        for request_id, (request, _) in bad.items():
            await stream.write(AnalyzeStreamRequest(request_id=request_id, request=request))
            response = await read(stream)
            assert response.error.code
            assert response.error.message
            reasons[response.request_id] = response.error.reason
        assert reasons == {request_id: reason for request_id, (_, reason) in bad.items()}
        await stream.write(ask("no time", jpeg(), seconds=0))
        assert outcome(await read(stream)) == "INVALID_REQUEST"
        both = AnalyzeRequest(image=jpeg(), models=["broken", "echo"])
        await stream.write(AnalyzeStreamRequest(request_id="partly", request=both))
        failed, answered = (await read(stream)).response.answers
        assert failed.error.reason == "INTERNAL"
        assert answered.HasField("answer")
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
    await client.delete("broken")


async def test_what_is_no_message_ends_the_stream_as_the_callers_fault(client: AsyncClient) -> None:
    ask: Any = client._channel.stream_stream("/framemesh.v1.AnalysisService/AnalyzeStream")
    stream = ask(iter([b"\xff\xff\xff"]), timeout=10)
    with pytest.raises(grpc.RpcError) as caught:
        await stream.read()
    assert isinstance(from_rpc_error(caught.value), InvalidRequestError)


async def test_each_image_has_its_own_time(client: AsyncClient, echo: EchoModel) -> None:
    echo.open_gate.clear()
    stream = client._analysis.AnalyzeStream()
    await stream.write(ask("patient", jpeg(1), seconds=60))
    await stream.write(ask("hasty", jpeg(2), seconds=0.2))
    hasty = await read(stream)
    assert (hasty.request_id, outcome(hasty)) == ("hasty", "DEADLINE_EXCEEDED")
    echo.open_gate.set()
    patient = await read(stream)
    assert (patient.request_id, outcome(patient)) == ("patient", f"{len(jpeg(1))} bytes")
    stream.cancel()


async def test_a_stored_frame_is_asked_about_by_its_key(
    client: AsyncClient, echo: EchoModel, bus: Bus, lake: Lake
) -> None:
    await publish(bus, "stairs", jpeg(9))

    async def stored() -> list[str]:
        return await lake.keys("stairs/")

    (key,) = await until(stored)
    asked: list[tuple[str, bytes | Frame]] = [("frame", Frame(object_key=key)), ("image", jpeg(8))]
    found = {r.request_id: r.response async for r in client.analyze_stream(asked, models=["echo"])}
    assert (found["frame"].frame.camera, found["frame"].frame.object_key) == ("stairs", key)
    assert not found["image"].HasField("frame")


async def test_no_more_is_read_than_is_under_way(client: AsyncClient, echo: EchoModel) -> None:
    echo.open_gate.clear()
    big = jpeg(1) + b"\0" * 60_000  # padded behind its end, as some cameras do: what is in flight can't hide in buffers
    taken = 0

    async def images() -> AsyncIterator[tuple[str, bytes]]:
        nonlocal taken
        for number in range(1_000):
            taken += 1
            yield str(number), big

    async def consume() -> int:
        return len([response async for response in client.analyze_stream(images(), models=["echo"], timeout=120)])

    consuming = asyncio.create_task(consume())
    await until(lambda: echo.arrived == STREAM_IMAGES)
    before = -1
    while before != taken:  # until gRPC's own buffers between are full
        before = taken
        await asyncio.sleep(0.3)
    assert echo.arrived == STREAM_IMAGES
    assert taken < 500
    echo.open_gate.set()
    assert await consuming == 1_000


async def test_a_caller_that_does_not_read_is_not_read_either(client: AsyncClient, echo: EchoModel) -> None:
    stream = client._analysis.AnalyzeStream()
    written = 0

    async def write() -> None:
        nonlocal written
        while True:
            # The response carries the id back: ids this long fill the way back with few of them.
            await stream.write(ask("x" * 500_000, jpeg()))
            written += 1

    writing = asyncio.create_task(write())
    before = -1
    while before != written:
        before = written
        await asyncio.sleep(0.3)
    for _ in range(before):  # whoever reads gets on
        assert outcome(await read(stream)) == f"{len(jpeg())} bytes"
    await until(lambda: written > before)
    writing.cancel()
    stream.cancel()


async def test_a_draining_gateway_answers_what_came_and_says_that_it_stops(settings: GatewaySettings, bus: Bus) -> None:
    async with serving_model(bus, "echo") as model:
        async with gateway(settings) as running:
            client = AsyncClient(f"127.0.0.1:{running.grpc_port}")
            await ready(client, "echo")
            model.open_gate.clear()
            stream = client._analysis.AnalyzeStream()
            for number in range(5):
                await stream.write(ask(str(number), jpeg(number)))
            await until(lambda: model.arrived == 5)
            asyncio.get_running_loop().call_later(0.3, model.open_gate.set)
        responses: dict[str, str] = {}
        with pytest.raises(grpc.RpcError) as caught:
            await read_all(stream, responses)
        assert responses == {str(number): f"{len(jpeg(number))} bytes" for number in range(5)}
        ending = from_rpc_error(caught.value)
        assert isinstance(ending, ModelUnavailableError)
        assert "draining" in str(ending)
        await client.__aexit__(None, None, None)
    async with gateway(settings) as running, AsyncClient(f"127.0.0.1:{running.grpc_port}") as client:
        await ready_to_delete(client, "echo")


async def ready_to_delete(client: AsyncClient, name: str) -> None:
    async def there() -> bool:
        return any(model.spec.name == name for model in await client.models())

    await until(there)
    await client.delete(name)


async def test_a_caller_that_leaves_takes_its_images_along(client: AsyncClient, echo: EchoModel) -> None:
    echo.open_gate.clear()
    stream = client._analysis.AnalyzeStream()
    for number in range(3):
        await stream.write(ask(str(number), jpeg(number)))
    await until(lambda: echo.arrived == 3)
    stream.cancel()
    await until(lambda: echo.cancelled == 3)


async def test_the_client_keeps_what_it_cannot_send_from_ending_the_stream(
    client: AsyncClient, echo: EchoModel, tmp_path: Path
) -> None:
    good = tmp_path / "good.jpg"
    good.write_bytes(jpeg(4))
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    paths = [huge, tmp_path / "missing.jpg", good, tmp_path]
    found = {r.request_id: outcome(r) async for r in client.analyze_stream((p.name, p) for p in paths)}
    assert found == {
        "huge.jpg": "IMAGE_TOO_LARGE",
        "missing.jpg": "INVALID_IMAGE",
        "good.jpg": f"{len(jpeg(4))} bytes",
        tmp_path.name: "INVALID_IMAGE",
    }


async def test_what_the_callers_own_iterator_raises_reaches_the_caller(client: AsyncClient, echo: EchoModel) -> None:
    async def images() -> AsyncIterator[tuple[str, bytes]]:
        yield "first", jpeg(1)
        raise KeyError("mine")

    responses = client.analyze_stream(images())
    assert (await anext(responses)).request_id == "first"
    with pytest.raises(KeyError, match="mine"):
        await anext(responses)


async def test_the_client_for_threads_streams_too(settings: GatewaySettings, bus: Bus) -> None:
    async with serving_model(bus, "sync"), gateway(settings) as running:

        def images(error: Exception | None = None) -> Iterator[tuple[str, bytes]]:
            for number in range(40):
                yield str(number), jpeg(number)
            yield "bad", b"text"
            if error:
                raise error

        def use() -> dict[str, str]:
            with Client(f"127.0.0.1:{running.grpc_port}") as client:
                client.deploy(parse("sync=x,policy=fps=0.001"))
                while not any(model.replicas for model in client.models()):
                    pass
                found = {r.request_id: outcome(r) for r in client.analyze_stream(images(), models=["sync"])}
                with pytest.raises(KeyError, match="mine"):
                    list(client.analyze_stream(images(KeyError("mine"))))
                for response in client.analyze_stream(images()):
                    assert response.request_id  # and leaves early
                    break
                client.delete("sync")
                return found

        found = await asyncio.to_thread(use)
        assert found == {
            **{str(number): f"{len(jpeg(number))} bytes" for number in range(40)},
            "bad": "INVALID_IMAGE",
        }
