"""Calls that wait, and the workers that take them in batches.

There is no timer: a batch is what waits when a worker gets free, at most `max_batch`, and no more than its share when
several are free. So a lone call never waits for company, and batches grow with the load by themselves.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from framemesh.errors import DeadlineError, FramemeshError, ModelUnavailableError, QueueFullError
from model_server.inference import Answer, Answered, Job
from model_server.metrics import ModelServerMetrics

Infer = Callable[[Sequence[Job]], list[Answer | FramemeshError]]
"""Answers a batch, in its order; called in worker threads, several at once."""


@dataclass(eq=False, slots=True)
class _Call:
    job: Job
    arrived: float
    deadline: float
    outcome: asyncio.Future[Answered]


class Batcher:
    """A bounded queue before some workers, each a thread.

    Args:
        model: The model's name, for the metrics.
        infer: Answers a batch.
        workers: Batches at once.
        max_batch: The most images in one batch.
        max_queue: The most images that wait.
        metrics: Told of every batch.
    """

    name = "batcher"

    def __init__(
        self,
        model: str,
        infer: Infer,
        *,
        workers: int,
        max_batch: int,
        max_queue: int,
        metrics: ModelServerMetrics,
    ) -> None:
        self._model = model
        self._infer = infer
        self._workers = workers
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._waiting: deque[_Call] = deque()
        self._busy = 0
        self._changed = asyncio.Event()
        self._stopping = False
        metrics.queued_images.labels(model).set_function(lambda: len(self._waiting))

    async def submit(self, job: Job, *, deadline: float) -> Answered:
        """Wait for the answer to one image. Cancelled, the image leaves the queue.

        Args:
            job: The image.
            deadline: When the answer is of no more use, by `time.monotonic`.

        Raises:
            ModelUnavailableError: The server is stopping.
            QueueFullError: As many images wait as may.
            DeadlineError: It passed before a worker was free.
            InvalidImageError: The image is broken.
            ImageTooLargeError: It is over the limits of size.
        """
        if self._stopping:
            raise ModelUnavailableError(f"model {self._model!r} is draining here: ask another of its servers")
        if len(self._waiting) >= self._max_queue:
            raise QueueFullError(
                f"the queue of model {self._model!r} is full ({self._max_queue} wait): try later, or add replicas",
                model=self._model,
                max_queue=self._max_queue,
            )
        call = _Call(job, time.monotonic(), deadline, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        self._changed.set()
        try:
            return await call.outcome
        finally:
            with suppress(ValueError):  # a worker has it, or had
                self._waiting.remove(call)

    async def run(self) -> None:
        """Answer until stopped, then what waits."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            self._threads.shutdown(wait=False)

    def stop(self) -> None:
        """Take no more images."""
        self._stopping = True
        self._changed.set()

    async def _work(self) -> None:
        while self._waiting or not self._stopping:
            calls = self._take()
            if calls:
                self._busy += 1
                try:
                    await self._answer(calls)
                finally:
                    self._busy -= 1
            elif not self._waiting and not self._stopping:
                self._changed.clear()
                await self._changed.wait()

    def _take(self) -> list[_Call]:
        """This worker's share of what waits, without the calls whose time is up."""
        free = self._workers - self._busy
        share = min(self._max_batch, -(-len(self._waiting) // free))
        now = time.monotonic()
        taken: list[_Call] = []
        while self._waiting and len(taken) < share:
            call = self._waiting.popleft()
            if call.outcome.done():  # cancelled a moment ago
                continue
            if call.deadline <= now:
                call.outcome.set_exception(DeadlineError("the deadline passed while the image waited for a worker"))
            else:
                taken.append(call)
        return taken

    async def _answer(self, calls: list[_Call]) -> None:
        started = time.monotonic()
        jobs = [call.job for call in calls]
        try:
            outcomes = await asyncio.get_running_loop().run_in_executor(self._threads, self._infer, jobs)
        except Exception as error:  # noqa: BLE001 - a fault of ours or the runtime's: each caller is told
            for call in calls:
                if not call.outcome.done():
                    call.outcome.set_exception(error)
            return
        answered: list[Answered] = []
        for call, outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, Answer):
                answered.append(Answered(outcome, started - call.arrived))
            if call.outcome.done():
                continue  # nobody waits for it any more
            if isinstance(outcome, FramemeshError):
                call.outcome.set_exception(outcome)
            else:
                call.outcome.set_result(answered[-1])
        self._metrics.batch(self._model, answered)
