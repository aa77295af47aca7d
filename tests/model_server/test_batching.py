import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from framemesh.errors import (
    DeadlineError,
    FramemeshError,
    InvalidImageError,
    ModelUnavailableError,
    QueueFullError,
)
from framemesh.service import running
from model_server.batching import Batcher
from model_server.classification import ScoredLabel
from model_server.inference import Answer, Answered, Job
from model_server.metrics import ModelServerMetrics


class Gate:
    """Stands in for a model: notes each batch, and lets it pass when told."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self._passes = threading.Semaphore(0)

    def infer(self, jobs: Sequence[Job]) -> list[Answer | FramemeshError]:
        self.batches.append([job.image for job in jobs])
        assert self._passes.acquire(timeout=20)
        return [self._outcome(job, len(jobs)) for job in jobs]

    def let_pass(self, batches: int = 1) -> None:
        self._passes.release(batches)

    async def reached(self, batches: int) -> None:
        while len(self.batches) < batches:
            await asyncio.sleep(0.001)

    def _outcome(self, job: Job, size: int) -> Answer | FramemeshError:
        if job.image == b"broken":
            return InvalidImageError("broken")
        if job.image == b"fault":
            raise ZeroDivisionError
        return Answer([ScoredLabel(0, job.image.decode(), 1.0)], 0.001, 0.002, 0.003, size)


@asynccontextmanager
async def batching(
    gate: Gate, *, workers: int = 1, max_batch: int = 8, max_queue: int = 64
) -> AsyncIterator[tuple[Batcher, CollectorRegistry]]:
    registry = CollectorRegistry()
    batcher = Batcher(
        "tiny", gate.infer, workers=workers, max_batch=max_batch, max_queue=max_queue,
        metrics=ModelServerMetrics(registry),
    )  # fmt: skip
    async with running(batcher, drain_seconds=20):
        yield batcher, registry


def submit(batcher: Batcher, *images: bytes, deadline: float = math.inf) -> list[asyncio.Task[Answered]]:
    return [asyncio.create_task(batcher.submit(Job(image, 5), deadline=deadline)) for image in images]


async def name(call: asyncio.Task[Answered]) -> str:
    return (await call).answer.labels[0].name


async def queued(registry: CollectorRegistry, count: int) -> None:
    while registry.get_sample_value("framemesh_model_server_queued_images", {"model": "tiny"}) != count:
        await asyncio.sleep(0.001)


async def test_what_waits_when_a_worker_gets_free_is_its_batch() -> None:
    gate = Gate()
    async with batching(gate, max_batch=3) as (batcher, registry):
        calls = submit(batcher, b"a")
        await gate.reached(1)
        calls += submit(batcher, b"b", b"c", b"d", b"e")
        await queued(registry, 4)
        gate.let_pass(3)
        assert [await name(call) for call in calls] == ["a", "b", "c", "d", "e"]
        assert gate.batches == [[b"a"], [b"b", b"c", b"d"], [b"e"]]


async def test_what_waits_is_shared_among_the_free_workers() -> None:
    gate = Gate()
    gate.let_pass(2)
    async with batching(gate, workers=2) as (batcher, _):
        await asyncio.gather(*submit(batcher, b"a", b"b", b"c", b"d", b"e"))
        assert sorted(len(batch) for batch in gate.batches) == [2, 3]


async def test_a_full_queue_refuses_at_once() -> None:
    gate = Gate()
    async with batching(gate, max_queue=2) as (batcher, registry):
        calls = submit(batcher, b"a")
        await gate.reached(1)
        calls += submit(batcher, b"b", b"c")
        await queued(registry, 2)
        with pytest.raises(QueueFullError, match=r"full.*2 wait"):
            await batcher.submit(Job(b"d", 5), deadline=math.inf)
        gate.let_pass(2)
        await asyncio.gather(*calls)


async def test_a_cancelled_call_leaves_the_queue_and_is_never_run() -> None:
    gate = Gate()
    async with batching(gate, max_queue=1) as (batcher, registry):
        running_call, *_ = submit(batcher, b"a")
        await gate.reached(1)
        (waiting,) = submit(batcher, b"b")
        await queued(registry, 1)
        waiting.cancel()
        await queued(registry, 0)
        (last,) = submit(batcher, b"c")
        gate.let_pass(2)
        assert [await name(running_call), await name(last)] == ["a", "c"]
        assert gate.batches == [[b"a"], [b"c"]]


async def test_a_call_whose_deadline_passed_is_never_run() -> None:
    gate = Gate()
    async with batching(gate) as (batcher, registry):
        (first,) = submit(batcher, b"a")
        await gate.reached(1)
        (late,) = submit(batcher, b"b", deadline=time.monotonic())
        await queued(registry, 1)
        gate.let_pass()
        with pytest.raises(DeadlineError):
            await late
        await first
        assert gate.batches == [[b"a"]]


async def test_a_call_cancelled_while_it_runs_harms_nobody() -> None:
    gate = Gate()
    async with batching(gate) as (batcher, _):
        (given_up,) = submit(batcher, b"a")
        await gate.reached(1)
        given_up.cancel()
        (other,) = submit(batcher, b"b")
        gate.let_pass(2)
        assert await name(other) == "b"


async def test_an_error_is_its_own_images_and_a_fault_the_whole_batchs() -> None:
    gate = Gate()
    async with batching(gate) as (batcher, registry):
        (first,) = submit(batcher, b"a")
        await gate.reached(1)
        broken, good = submit(batcher, b"broken", b"good")
        await queued(registry, 2)
        gate.let_pass(2)
        with pytest.raises(InvalidImageError):
            await broken
        assert await name(good) == "good"
        await first
        faulty, neighbour = submit(batcher, b"fault", b"b")
        gate.let_pass()
        for call in (faulty, neighbour):
            with pytest.raises(ZeroDivisionError):
                await call
        (after,) = submit(batcher, b"after")
        gate.let_pass()
        assert await name(after) == "after"


async def test_stopping_answers_what_waits_and_takes_no_more() -> None:
    gate = Gate()
    async with batching(gate) as (batcher, registry):
        calls = submit(batcher, b"a")
        await gate.reached(1)
        calls += submit(batcher, b"b")
        await queued(registry, 1)
        batcher.stop()
        with pytest.raises(ModelUnavailableError, match="draining"):
            await batcher.submit(Job(b"c", 5), deadline=math.inf)
        gate.let_pass(2)
    assert [await name(call) for call in calls] == ["a", "b"]


async def test_batches_are_measured() -> None:
    gate = Gate()
    async with batching(gate) as (batcher, registry):
        gate.let_pass()
        (call,) = submit(batcher, b"a")
        answered = await call
    assert answered.queue_seconds >= 0
    for metric, total in (
        ("batch_images", 1),
        ("queue_duration_seconds", answered.queue_seconds),
        ("preprocess_duration_seconds", 0.001),
        ("inference_duration_seconds", 0.002),
        ("postprocess_duration_seconds", 0.003),
    ):
        assert registry.get_sample_value(f"framemesh_model_server_{metric}_sum", {"model": "tiny"}) == total
