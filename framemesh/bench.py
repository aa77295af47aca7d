"""A load for one model server, and how it held up.

One process sends it all. Its own part is some 0.3 ms of CPU a call, so on a shared machine a very fast model is
somewhat faster than this shows.
"""

import asyncio
import itertools
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from framemesh.rpc.channels import open_channel
from framemesh.rpc.status import from_rpc_error
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.inference_service_pb2 import GetModelMetadataRequest, GetModelMetadataResponse, InferRequest
from framemesh.v1.inference_service_pb2_grpc import InferenceServiceStub

PERCENTILES = (50, 90, 99)
_CALL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """So many callers, each of which asks again as soon as it has its answer: shows the most that a server can do.

    Attributes:
        concurrency: How many callers.
        seconds: For how long they begin calls.
    """

    concurrency: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.concurrency} at once"


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Calls at fixed times, however long answers take, as cameras send frames.

    Attributes:
        rate: Calls a second.
        seconds: For how long.
    """

    rate: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.rate:g} a second"


Load = ClosedLoop | OpenLoop


@dataclass(slots=True)
class Measured:
    """How a load went.

    Attributes:
        load: The load.
        seconds: From its first call to its last answer.
        latencies: Of each call that was answered, in seconds: from the call, or in an open loop from when it was due.
        errors: How many calls ended with which gRPC status.
    """

    load: Load
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """The same for programs; without answers the percentiles are null."""
        return {
            "load": str(self.load),
            "seconds": round(self.seconds, 3),
            "answers": len(self.latencies),
            "answers_per_second": round(self.throughput, 2),
            "latency_seconds": {f"p{percent}": percentile(self.latencies, percent) for percent in PERCENTILES},
            "errors": dict(self.errors),
        }


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The least of the values that so many percent of them don't exceed; none where there are no values."""
    if not values:
        return None
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]


async def bench(
    address: str,
    images: Sequence[bytes],
    loads: Sequence[Load],
    *,
    options: AnswerOptions,
    on_result: Callable[[Measured], None],
) -> GetModelMetadataResponse:
    """Put the loads on a model server, one after the other, and say what it serves.

    Args:
        address: The server's gRPC address, as `host:port`.
        images: Encoded images, sent in turn.
        loads: What to send.
        options: What is asked of each answer.
        on_result: Told how each load went.

    Raises:
        FramemeshError: The server can't be reached, or refuses the first image.
    """
    async with open_channel(address) as channel:
        stub = InferenceServiceStub(channel)
        requests = [InferRequest(image=image, options=options) for image in images]
        try:
            metadata = await stub.GetModelMetadata(GetModelMetadataRequest(), timeout=_CALL_SECONDS)
            for request in requests:
                await stub.Infer(request, timeout=_CALL_SECONDS)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        in_turn = itertools.cycle(requests)

        async def call() -> None:
            await stub.Infer(next(in_turn), timeout=_CALL_SECONDS)

        for load in loads:
            on_result(await _closed(load, call) if isinstance(load, ClosedLoop) else await _open(load, call))
    return metadata


async def _closed(load: ClosedLoop, call: Callable[[], Awaitable[None]]) -> Measured:
    measured = Measured(load)
    began = time.perf_counter()

    async def caller() -> None:
        while (started := time.perf_counter()) < began + load.seconds:
            await _timed(call, started, measured)

    async with asyncio.TaskGroup() as group:
        for _ in range(load.concurrency):
            group.create_task(caller())
    measured.seconds = time.perf_counter() - began
    return measured


async def _open(load: OpenLoop, call: Callable[[], Awaitable[None]]) -> Measured:
    measured = Measured(load)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(max(1, round(load.rate * load.seconds))):
            due = began + number / load.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(_timed(call, due, measured))
    measured.seconds = time.perf_counter() - began
    return measured


async def _timed(call: Callable[[], Awaitable[None]], started: float, measured: Measured) -> None:
    try:
        await call()
    except grpc.aio.AioRpcError as error:
        measured.errors[error.code().name] += 1
    else:
        measured.latencies.append(time.perf_counter() - started)
