"""Floods of images on a real gateway: what is let in is answered, and the rest refused at once."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from framemesh.bus import Bus
from framemesh.client import AsyncClient, Client
from framemesh.errors import ImageTooLargeError, ModelUnavailableError, OverloadedError
from framemesh.mesh.servers import free_port
from framemesh.specs import parse
from framemesh.v1.analysis_service_pb2 import AnalyzeRequest
from gateway.app import gateway
from gateway.settings import GatewaySettings
from tests.gateway.conftest import serving_model, until
from tests.gateway.echo import EchoModel
from tests.gateway.test_api import get, ready
from tests.pictures import jpeg

LIMIT = 8
MIB = 1024**2


def padded(size_bytes: int) -> bytes:
    """A JPEG with something behind its end, as some cameras append: large, and quick to look at."""
    picture = jpeg(1)
    end = b"\xff\xd9"
    return picture + b"\0" * (size_bytes - len(picture) - len(end)) + end


@asynccontextmanager
async def held(settings: GatewaySettings, bus: Bus, **limits: int) -> AsyncIterator[tuple[AsyncClient, EchoModel, str]]:
    """A gateway with limits, and a model that answers when its gate is opened; and the page of metrics."""
    async with (
        serving_model(bus, "held") as model,
        gateway(settings.model_copy(update=limits)) as running,
        AsyncClient(f"127.0.0.1:{running.grpc_port}") as client,
    ):
        await client.deploy(parse("held=x,policy=fps=0.001"))
        await ready(client, "held")
        model.open_gate.clear()
        yield client, model, f"http://127.0.0.1:{running.http_port}/metrics"
        await client.delete("held")


async def metric(page: str, name: str) -> float:
    text = await asyncio.to_thread(get, page)
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return float(line.rsplit(" ", 1)[1])


async def test_of_a_flood_those_let_in_are_answered_and_the_rest_refused_at_once(
    settings: GatewaySettings, bus: Bus
) -> None:
    async with held(settings, bus, analyze_images=LIMIT) as (client, model, page):
        calls = [asyncio.create_task(client.analyze(jpeg(number), timeout=120)) for number in range(100)]
        await until(lambda: sum(call.done() for call in calls) == 100 - LIMIT)  # while nothing is answered
        await until(lambda: model.arrived == LIMIT)
        assert await metric(page, "framemesh_gateway_analyze_images") == LIMIT
        model.open_gate.set()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        answers = [end for end in ended if not isinstance(end, BaseException)]
        refusals = [end for end in ended if isinstance(end, OverloadedError)]
        assert (len(answers), len(refusals), model.arrived) == (LIMIT, 100 - LIMIT, LIMIT)
        assert all(response.answers[0].HasField("answer") for response in answers)
        assert await metric(page, 'framemesh_gateway_analyze_shed_total{limit="images"}') == 100 - LIMIT
        assert await metric(page, "framemesh_gateway_analyze_images") == 0
        await client.analyze(jpeg())  # there is room again


async def test_a_refusal_says_when_to_ask_again(settings: GatewaySettings, bus: Bus) -> None:
    async with held(settings, bus, analyze_images=1) as (client, model, _):
        first = asyncio.create_task(client.analyze(jpeg(), timeout=120))
        await until(lambda: model.arrived == 1)
        with pytest.raises(grpc.RpcError) as caught:
            await client._analysis.Analyze(AnalyzeRequest(image=b"not even an image"), timeout=10)
        status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
        assert status is not None
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        retry = error_details_pb2.RetryInfo()
        assert status.details[1].Unpack(retry)
        assert retry.retry_delay.ToNanoseconds() > 0
        (refused,) = [response async for response in client.analyze_stream([("one", b"not even an image")])]
        assert (refused.error.code, refused.error.reason) == (status.code, "OVERLOADED")
        assert refused.error.retry_delay == retry.retry_delay
        model.open_gate.set()
        await first


async def test_streams_are_bounded_too(settings: GatewaySettings, bus: Bus) -> None:
    async with held(settings, bus, analyze_images=1) as (client, model, page):
        first = client.analyze_stream([("one", jpeg())], timeout=120)
        told = asyncio.ensure_future(anext(first))
        await until(lambda: model.arrived == 1)
        with pytest.raises(OverloadedError, match="1 streams"):
            await anext(client.analyze_stream([("two", jpeg())]))
        assert await metric(page, 'framemesh_gateway_analyze_shed_total{limit="streams"}') == 1
        model.open_gate.set()
        assert (await told).response.answers[0].HasField("answer")
        assert [one async for one in first] == []
        assert [one.request_id async for one in client.analyze_stream([("two", jpeg())])] == ["two"]  # room again


async def test_bytes_are_bounded_too(settings: GatewaySettings, bus: Bus) -> None:
    image = padded(6 * MIB)
    async with held(settings, bus, analyze_bytes=16 * MIB) as (client, model, page):
        two = [asyncio.create_task(client.analyze(image, timeout=120)) for _ in range(2)]
        await until(lambda: model.arrived == 2)
        assert await metric(page, "framemesh_gateway_analyze_bytes") == 2 * len(image)
        with pytest.raises(OverloadedError, match="16,777,216 bytes"):
            await client.analyze(image)
        small = asyncio.create_task(client.analyze(jpeg(2), timeout=120))
        await until(lambda: model.arrived == 3)
        model.open_gate.set()
        for call in (*two, small):
            assert (await call).answers[0].HasField("answer")
        assert await metric(page, 'framemesh_gateway_analyze_shed_total{limit="bytes"}') == 1
        assert await metric(page, "framemesh_gateway_analyze_bytes") == 0


async def test_callers_that_leave_make_room(settings: GatewaySettings, bus: Bus) -> None:
    async with held(settings, bus, analyze_images=2) as (client, model, page):
        leaving = [asyncio.create_task(client.analyze(jpeg(), timeout=120)) for _ in range(2)]
        await until(lambda: model.arrived == 2)
        for call in leaving:
            call.cancel()
        await until(lambda: model.cancelled == 2)

        async def free() -> bool:
            return await metric(page, "framemesh_gateway_analyze_images") == 0

        await until(free)
        model.open_gate.set()
        await client.analyze(jpeg())


async def test_an_operators_lower_limits_hold_and_are_named(settings: GatewaySettings, bus: Bus) -> None:
    async with held(settings, bus, max_image_bytes=MIB, max_image_pixels=100_000) as (client, model, _):
        model.open_gate.set()
        with pytest.raises(ImageTooLargeError, match="limit is 1,048,576"):
            await client.analyze(padded(2 * MIB))
        with pytest.raises(ImageTooLargeError, match="limit is 100,000"):
            await client.analyze(jpeg(1, (400, 300)))
        (refused,) = [response async for response in client.analyze_stream([("one", padded(2 * MIB))])]
        assert "limit is 1,048,576" in refused.error.message
        await client.analyze(jpeg(1, (300, 300)))


async def test_a_flood_of_large_images_does_not_fill_the_gateways_memory(nats: str, s3: dict[str, str]) -> None:
    image = padded(6 * MIB)
    port, http_port = free_port(), free_port()
    env = {
        **os.environ,
        **s3,
        "FRAMEMESH_NATS_URL": nats,
        "FRAMEMESH_GRPC_ADDRESS": f"127.0.0.1:{port}",
        "FRAMEMESH_HTTP_ADDRESS": f"127.0.0.1:{http_port}",
        "FRAMEMESH_ANALYZE_IMAGES": "4",
        "FRAMEMESH_DRAIN_SECONDS": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", env=env, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        async with AsyncClient(f"127.0.0.1:{port}") as client:
            await until(lambda: reached(client))
            # Four calls whose images are still on their way take up the room.
            waiting: Any = client._channel.stream_unary("/framemesh.v1.AnalysisService/Analyze")
            held = [waiting(never(), timeout=120) for _ in range(4)]
            await until(lambda: images_held(http_port, 4))
            full = peak_bytes(process.pid)

            def refused(_: int) -> bool:
                try:
                    flooding.analyze(image, timeout=60)
                except OverloadedError:
                    return True
                return False

            with Client(f"127.0.0.1:{port}") as flooding, ThreadPoolExecutor(40) as threads:
                flood = [asyncio.wrap_future(threads.submit(refused, number)) for number in range(200)]
                assert all(await asyncio.gather(*flood))
            # HTTP/2's windows let 1 MiB of each through before it is refused, 40 at once; twice that is allowed.
            assert peak_bytes(process.pid) - full < 80 * MIB
            for call in held:
                call.cancel()
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def images_held(http_port: int, count: int) -> bool:
    return await metric(f"http://127.0.0.1:{http_port}/metrics", "framemesh_gateway_analyze_images") == count


async def reached(client: AsyncClient) -> bool:
    try:
        await client.models()
    except ModelUnavailableError:
        return False
    return True


def peak_bytes(pid: int) -> int:
    """The most memory that the process has had resident."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found.group(1)) * 1024
