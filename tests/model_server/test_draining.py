import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from framemesh.mesh.servers import free_port
from framemesh.rpc.channels import open_channel
from framemesh.v1.inference_service_pb2 import InferRequest
from framemesh.v1.inference_service_pb2_grpc import InferenceServiceStub
from tests.model_server.servers import encoded, process, until_serving

IN_FLIGHT = 500
WORKERS = 2


@pytest.mark.parametrize(
    ("drain_seconds", "edge_px", "all_answered"), [(300, 1000, True), (1.0, 1600, False)], ids=["all", "few"]
)
async def test_sigterm_answers_or_refuses_each_of_500_calls_and_cuts_none(
    vit: Path, cache: Path, drain_seconds: float, edge_px: int, *, all_answered: bool
) -> None:
    """With time for all of them, and with time for few: an image of few bytes and many pixels arrives long before it is
    decoded, on any machine."""
    image = encoded(Image.new("RGB", (edge_px, edge_px), "teal"))
    port, http_port = free_port(), free_port()
    refused: list[tuple[float, grpc.StatusCode, str]] = []
    answered = 0

    async def ask(stub: Any) -> None:
        nonlocal answered
        try:
            await stub.Infer(InferRequest(image=image), timeout=300)
        except grpc.aio.AioRpcError as error:
            refused.append((time.monotonic(), error.code(), str(error.details())))
        else:
            answered += 1

    async with (
        process(
            str(vit),
            cache,
            port,
            FRAMEMESH_MAX_BATCH="1",
            FRAMEMESH_MAX_QUEUE="1000",
            FRAMEMESH_DRAIN_SECONDS=str(drain_seconds),
            FRAMEMESH_HTTP_ADDRESS=f"127.0.0.1:{http_port}",
        ) as server,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        await until_serving(channel)
        told = asyncio.create_task(_told(channel))
        stub = InferenceServiceStub(channel)
        await stub.Infer(InferRequest(image=image), timeout=60)
        calls = [asyncio.create_task(ask(stub)) for _ in range(IN_FLIGHT)]
        while await _arrived(http_port) < 1 + IN_FLIGHT - WORKERS:  # the workers' own are not on the page
            await asyncio.sleep(0.05)
        server.send_signal(signal.SIGTERM)
        await asyncio.gather(*calls)
        not_serving_at = await told
        assert answered + len(refused) == IN_FLIGHT
        assert {(code, "draining" in details) for _, code, details in refused} <= {(grpc.StatusCode.UNAVAILABLE, True)}
        assert (answered == IN_FLIGHT) is all_answered
        assert all(not_serving_at <= at for at, _, _ in refused)
        assert await server.wait() == 0


async def _told(channel: grpc.aio.Channel) -> float:
    """When the watcher of the model's health is told that it ceases to serve."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    async for status in stub.Watch(health_pb2.HealthCheckRequest(service="tiny"), timeout=120):
        if status.status == health_pb2.HealthCheckResponse.NOT_SERVING:
            return time.monotonic()
    raise AssertionError("the watch ended")


async def _arrived(http_port: int) -> float:
    """How many images the server has run or has waiting."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{http_port}/metrics") as page:
        values = dict(line.rsplit(" ", 1) for line in (await page.text()).splitlines() if not line.startswith("#"))
    counted = ("batch_images_sum", "queued_images")
    return sum(float(values[f'framemesh_model_server_{name}{{model="tiny"}}']) for name in counted)
