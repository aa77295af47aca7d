import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from framemesh.rpc.status import from_rpc_error
from framemesh.v1.inference_service_pb2 import InferRequest
from model_server import watchdog
from model_server.runtimes import Arrays, OnnxRuntime
from tests.model_server.servers import Client, serving, settings
from tests.pictures import jpeg

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
PROMISED_SECONDS = 5.0
RUN = OnnxRuntime.run


class Sabotage:
    """A runtime that hangs or fails when told."""

    def __init__(self) -> None:
        self.going = threading.Event()
        self.going.set()
        self.dead = False
        self.hang_one = False
        self.released = threading.Event()

    def run(self, runtime: OnnxRuntime, pixels: NDArray[np.float32]) -> Arrays:
        assert self.going.wait(timeout=60)
        if self.hang_one:
            self.hang_one = False
            assert self.released.wait(timeout=60)
        if self.dead:
            raise RuntimeError("the device is lost")
        return RUN(runtime, pixels)


@pytest.fixture
def sabotage(monkeypatch: pytest.MonkeyPatch) -> Sabotage:
    sabotage = Sabotage()

    def run(runtime: OnnxRuntime, pixels: NDArray[np.float32]) -> Arrays:
        return sabotage.run(runtime, pixels)

    monkeypatch.setattr(OnnxRuntime, "run", run)
    return sabotage


@pytest.fixture
async def client(vit: Path, cache: Path, sabotage: Sabotage) -> AsyncIterator[Client]:
    async with serving(settings(vit, cache)) as client:
        yield client
        sabotage.going.set()


async def told(statuses: Any, wanted: int) -> None:
    """Wait until the watcher is told."""
    async for status in statuses:
        if status.status == wanted:
            return
    raise AssertionError("the watch ended")


def watch(client: Client, name: str = "tiny") -> Any:
    stub: Any = health_pb2_grpc.HealthStub(client.channel)
    return stub.Watch(health_pb2.HealthCheckRequest(service=name), timeout=120)


def test_what_is_waited_for_an_answer_leaves_time_to_tell_within_5_s() -> None:
    assert watchdog._PERIOD_SECONDS + watchdog._PATIENCE_SECONDS < PROMISED_SECONDS


async def test_a_hung_runtime_is_told_under_each_name_and_so_is_its_recovery(
    client: Client, sabotage: Sabotage
) -> None:
    async with AsyncExitStack() as stack:
        names = ("", "tiny", "framemesh.v1.InferenceService")
        watched = [await stack.enter_async_context(aclosing(aiter(watch(client, name)))) for name in names]

        async def all_told(wanted: int) -> None:
            await asyncio.gather(*(told(statuses, wanted) for statuses in watched))

        await all_told(SERVING)
        sabotage.going.clear()
        await all_told(NOT_SERVING)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.stub.Infer(InferRequest(image=jpeg()), timeout=60)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "unhealthy" in str(from_rpc_error(caught.value))
        sabotage.going.set()
        await all_told(SERVING)
    await client.stub.Infer(InferRequest(image=jpeg()), timeout=60)


async def test_a_dead_runtime_is_told_though_calls_come_all_the_time(client: Client, sabotage: Sabotage) -> None:
    async with aclosing(aiter(watch(client))) as statuses:
        await told(statuses, SERVING)
        sabotage.dead = True
        calls = [asyncio.ensure_future(client.stub.Infer(InferRequest(image=jpeg()), timeout=60)) for _ in range(20)]
        await told(statuses, NOT_SERVING)
        assert all(isinstance(error, grpc.RpcError) for error in await asyncio.gather(*calls, return_exceptions=True))
        sabotage.dead = False
        await told(statuses, SERVING)


async def test_one_hung_worker_of_two_is_told_too(client: Client, sabotage: Sabotage) -> None:
    async with aclosing(aiter(watch(client))) as statuses:
        await told(statuses, SERVING)
        sabotage.hang_one = True
        stuck = asyncio.ensure_future(client.stub.Infer(InferRequest(image=jpeg()), timeout=60))
        await told(statuses, NOT_SERVING)
        sabotage.released.set()
        await stuck
        await told(statuses, SERVING)


async def test_health_of_a_model_that_is_not_here_is_not_found(client: Client) -> None:
    stub: Any = health_pb2_grpc.HealthStub(client.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="other"), timeout=60)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
