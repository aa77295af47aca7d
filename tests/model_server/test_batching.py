import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

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
from framemesh.v1.answer_pb2 import Answer, Classification, Label
from model_server.batching import Batcher, Rank
from model_server.inference import Inferred, Job
from model_server.metrics import ModelServerMetrics


class Gate:
    """Stands in for a model: notes each batch, and lets it pass when told. A large image is the last of its batch."""

    def __init__(self) -> None:
        self.batches: list[list[object]] = []
        self.wanted: list[bool] = []
        self._passes = threading.Semaphore(0)

    def infer(self, jobs: Sequence[Job], wanted: Callable[[int], bool]) -> list[Inferred | FramemeshError | None]:
        self.batches.append([job.image for job in jobs])
        assert self._passes.acquire(timeout=20)
        self.wanted = [wanted(number) for number in range(len(jobs))]
        jobs = jobs[: next((number + 1 for number, job in enumerate(jobs) if job.image == b"large"), len(jobs))]
        return [self._outcome(job, len(jobs)) if wanted(number) else None for number, job in enumerate(jobs)]

    def let_pass(self, batches: int = 1) -> None:
        self._passes.release(batches)

    async def reached(self, batches: int) -> None:
        while len(self.batches) < batches:
            await asyncio.sleep(0.001)

    def _outcome(self, job: Job, size: int) -> Inferred | FramemeshError:
        assert isinstance(job.image, bytes)
        if job.image == b"broken":
            return InvalidImageError("broken")
        if job.image == b"fault":
            raise ZeroDivisionError
        answer = Answer(classification=Classification(labels=[Label(name=job.image.decode(), score=1.0)]))
        return Inferred(answer, {}, 0.001, 0.002, 0.003, size)


def idle(
    gate: Gate, *, workers: int = 1, max_batch: int = 8, max_queue: int = 64, max_queue_delay: float = 0.0
) -> tuple[Batcher, CollectorRegistry]:
    """A batcher whose workers don't run yet."""
    registry = CollectorRegistry()
    batcher = Batcher(
        "tiny", gate.infer, workers=workers, max_batch=max_batch, max_queue=max_queue,
        max_queue_delay=max_queue_delay, metrics=ModelServerMetrics(registry),
    )  # fmt: skip
    return batcher, registry


@asynccontextmanager
async def batching(gate: Gate, **options: Any) -> AsyncIterator[tuple[Batcher, CollectorRegistry]]:
    batcher, registry = idle(gate, **options)
    async with running(batcher, drain_seconds=20):
        yield batcher, registry


def submit(batcher: Batcher, *images: bytes, **options: Any) -> list[asyncio.Task[Inferred]]:
    options = {"deadline": math.inf, **options}
    return [asyncio.create_task(batcher.submit(Job(image), **options)) for image in images]


async def name(call: asyncio.Task[Inferred]) -> str:
    answer = (await call).answer
    assert answer is not None
    return answer.classification.labels[0].name


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
    batcher, registry = idle(gate, workers=2)
    calls = submit(batcher, b"a", b"b", b"c", b"d", b"e")
    await queued(registry, 5)
    async with running(batcher, drain_seconds=20):
        await gate.reached(2)
        gate.let_pass(2)
        await asyncio.gather(*calls)
        assert sorted(len(batch) for batch in gate.batches) == [2, 3]


async def test_a_full_queue_refuses_at_once() -> None:
    gate = Gate()
    async with batching(gate, max_queue=2) as (batcher, registry):
        calls = submit(batcher, b"a")
        await gate.reached(1)
        calls += submit(batcher, b"b", b"c")
        await queued(registry, 2)
        with pytest.raises(QueueFullError, match=r"full.*2 wait"):
            await batcher.submit(Job(b"d"), deadline=math.inf)
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


async def test_interactive_calls_go_before_background_work() -> None:
    gate = Gate()
    async with batching(gate, max_batch=2) as (batcher, registry):
        calls = submit(batcher, b"a")
        await gate.reached(1)
        calls += submit(batcher, b"frame 1", b"frame 2", rank=Rank.BACKGROUND)
        await queued(registry, 2)
        calls += submit(batcher, b"asked")
        await queued(registry, 3)
        gate.let_pass(3)
        await asyncio.gather(*calls)
        assert gate.batches == [[b"a"], [b"asked", b"frame 1"], [b"frame 2"]]


async def test_replayed_images_go_last_and_in_no_batch_with_others() -> None:
    gate = Gate()
    async with batching(gate, max_batch=4) as (batcher, registry):
        calls = submit(batcher, b"a")
        await gate.reached(1)
        calls += submit(batcher, b"past 1", b"past 2", rank=Rank.REPLAY)
        await queued(registry, 2)
        calls += submit(batcher, b"frame", rank=Rank.BACKGROUND)
        await queued(registry, 3)
        calls += submit(batcher, b"asked")
        await queued(registry, 4)
        gate.let_pass(3)
        await asyncio.gather(*calls)
        assert gate.batches == [[b"a"], [b"asked", b"frame"], [b"past 1", b"past 2"]]


async def test_what_can_not_be_answered_before_the_deadline_is_refused_at_once() -> None:
    gate = Gate()
    async with batching(gate, max_batch=1) as (batcher, _):
        (first,) = submit(batcher, b"a")
        await gate.reached(1)
        await asyncio.sleep(0.3)  # so long does this model take
        calls = submit(batcher, b"b", b"c")
        gate.let_pass()
        await first
        await gate.reached(2)
        with pytest.raises(QueueFullError, match="past the deadline"):
            await batcher.submit(Job(b"d"), deadline=time.monotonic() + 0.4)
        calls += submit(batcher, b"d", deadline=time.monotonic() + 60)
        gate.let_pass(3)
        assert [await name(call) for call in calls] == ["b", "c", "d"]


async def test_what_waited_until_too_little_time_was_left_is_never_run() -> None:
    gate = Gate()
    async with batching(gate, max_batch=1) as (batcher, _):
        (first,) = submit(batcher, b"a")
        await gate.reached(1)
        await asyncio.sleep(0.3)
        gate.let_pass()
        await first
        (second,) = submit(batcher, b"b")
        await gate.reached(2)
        (late,) = submit(batcher, b"c", deadline=time.monotonic() + 0.35)
        await asyncio.sleep(0.2)
        gate.let_pass()
        await second
        with pytest.raises(DeadlineError, match="nothing was computed"):
            await late
        assert gate.batches == [[b"a"], [b"b"]]


async def test_a_call_given_up_after_its_batch_was_taken_is_seen_by_the_model() -> None:
    gate = Gate()
    async with batching(gate, max_batch=2) as (batcher, registry):
        (first,) = submit(batcher, b"a")
        await gate.reached(1)
        given_up, kept = submit(batcher, b"b", b"c")
        await queued(registry, 2)
        gate.let_pass()
        await first
        await gate.reached(2)
        given_up.cancel()
        await asyncio.wait([given_up])
        gate.let_pass()
        assert await name(kept) == "c"
        assert gate.wanted == [False, True]


async def test_a_delay_waits_for_company_but_not_for_a_full_batch() -> None:
    gate = Gate()
    gate.let_pass()
    async with batching(gate, max_batch=2, max_queue_delay=3600) as (batcher, registry):
        (first,) = submit(batcher, b"a")
        await queued(registry, 1)
        (second,) = submit(batcher, b"b")
        await asyncio.gather(first, second)
        assert gate.batches == [[b"a", b"b"]]


async def test_a_delay_ends_for_what_stays_alone() -> None:
    gate = Gate()
    gate.let_pass()
    async with batching(gate, max_batch=2, max_queue_delay=0.05) as (batcher, _):
        (alone,) = submit(batcher, b"a")
        await alone
        assert gate.batches == [[b"a"]]


async def test_a_probe_goes_first_and_past_a_full_queue() -> None:
    gate = Gate()
    async with batching(gate, max_batch=1, max_queue=1) as (batcher, registry):
        calls = submit(batcher, b"a")
        await gate.reached(1)
        calls += submit(batcher, b"b")
        await queued(registry, 1)
        calls.append(asyncio.create_task(batcher.probe(Job(b"canary"))))
        await queued(registry, 2)
        gate.let_pass(3)
        await asyncio.gather(*calls)
        assert gate.batches == [[b"a"], [b"canary"], [b"b"]]
    assert registry.get_sample_value("framemesh_model_server_batch_images_sum", {"model": "tiny"}) == 2


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
            await batcher.submit(Job(b"c"), deadline=math.inf)
        gate.let_pass(2)
    assert [await name(call) for call in calls] == ["a", "b"]


async def test_what_a_model_leaves_of_a_batch_waits_again_first_of_its_rank() -> None:
    gate = Gate()
    async with batching(gate, max_batch=4) as (batcher, registry):
        calls = submit(batcher, b"a")
        await gate.reached(1)
        calls += submit(batcher, b"large", b"b")
        calls += submit(batcher, b"frame", rank=Rank.BACKGROUND)
        await queued(registry, 3)
        gate.let_pass()
        await gate.reached(2)
        calls += submit(batcher, b"c")
        calls += submit(batcher, b"asked")
        calls += submit(batcher, b"next frame", rank=Rank.BACKGROUND)
        await queued(registry, 3)
        gate.let_pass(3)
        assert sorted([await name(call) for call in calls]) == ["a", "asked", "b", "c", "frame", "large", "next frame"]
        assert gate.batches == [[b"a"], [b"large", b"b", b"frame"], [b"b", b"c", b"asked", b"frame"], [b"next frame"]]
    assert registry.get_sample_value("framemesh_model_server_queued_images", {"model": "tiny"}) == 0


async def test_a_call_that_is_given_up_is_not_left_for_another_batch() -> None:
    gate = Gate()
    async with batching(gate, max_batch=2) as (batcher, registry):
        (first,) = submit(batcher, b"a")
        await gate.reached(1)
        large, given_up = submit(batcher, b"large", b"b")
        await queued(registry, 2)
        gate.let_pass()
        await gate.reached(2)
        given_up.cancel()
        await asyncio.wait([given_up])
        (last,) = submit(batcher, b"c")
        gate.let_pass(2)
        assert [await name(call) for call in (first, large, last)] == ["a", "large", "c"]
        assert gate.batches == [[b"a"], [b"large", b"b"], [b"c"]]


async def test_stopping_answers_what_a_model_left_of_a_batch() -> None:
    gate = Gate()
    async with batching(gate, max_batch=3) as (batcher, registry):
        calls = submit(batcher, b"a")
        await gate.reached(1)
        calls += submit(batcher, b"large", b"large", b"b")
        await queued(registry, 3)
        gate.let_pass()
        await gate.reached(2)
        batcher.stop()
        gate.let_pass(3)
    assert [await name(call) for call in calls] == ["a", "large", "large", "b"]


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
