"""Calls that wait, and the workers that take them in batches.

There is no timer at idle: a batch is what waits when a worker gets free, at most `max_batch`, and no more than its
share when several are free. So a lone call never waits for company, and batches grow with the load by themselves.

Workers are threads that take their next batch themselves, without a turn through the event loop: under load the loop is
busy with other calls, and a core would wait for it between any two images.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from framemesh.errors import DeadlineError, FramemeshError, ModelUnavailableError, QueueFullError
from framemesh.telemetry import tracing
from model_server.inference import Inferred, Job, Outcome
from model_server.metrics import ModelServerMetrics
from model_server.phases import record

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

Infer = Callable[[Sequence[Job], Callable[[int], bool]], list[Outcome]]
"""Answers a batch, in its order; called in worker threads, several at once. The second argument tells whether somebody
still waits for a job, by its number. At least the first is answered; those that are left wait for another batch."""

_DRAIN_MARGIN = 1.5  # a server that stops shares its cores with the one that comes


class Rank(IntEnum):
    """Who goes first where images wait."""

    INTERACTIVE = 0
    BACKGROUND = 1
    REPLAY = 2
    """Never in a batch with the others: it would make theirs longer."""


@dataclass(eq=False, slots=True)
class _Call:
    job: Job
    rank: Rank
    arrived: float
    deadline: float
    outcome: asyncio.Future[Inferred] = field(repr=False)
    probe: bool = False
    span: "SpanContext | None" = None


class Batcher:
    """A bounded queue before some workers, each a thread.

    Args:
        model: The model's name, for the metrics.
        infer: Answers a batch.
        workers: Batches at once.
        max_batch: The most images in one batch.
        max_queue: The most images that wait.
        max_queue_delay: Seconds that the first image of a batch may wait for company.
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
        max_queue_delay: float = 0.0,
        metrics: ModelServerMetrics,
    ) -> None:
        self._model = model
        self._infer = infer
        self._workers = workers
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._max_queue_delay = max_queue_delay
        self._metrics = metrics
        self._queues: tuple[deque[_Call], ...] = tuple(deque() for _ in Rank)
        self._under_way: dict[int, float] = {}
        self._pace = _Pace()
        self._changed = threading.Condition()  # guards all of the above
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._left = workers
        metrics.queued_images.labels(model).set_function(lambda: self._waiting)

    async def submit(self, job: Job, *, deadline: float, rank: Rank = Rank.INTERACTIVE) -> Inferred:
        """Wait for what the model says of one image. Cancelled, the image leaves the queue.

        Args:
            job: The image.
            deadline: When the answer is of no more use, by `time.monotonic`.
            rank: Whether others go before it.

        Raises:
            ModelUnavailableError: The server is stopping.
            QueueFullError: As many images wait as may, or more than can be answered before the deadline.
            DeadlineError: No worker was free in time.
            InvalidImageError: The image is broken.
            ImageTooLargeError: It is over the limits of size.
            InvalidRequestError: The model can't do what the options ask.
        """
        if self._stopping:
            raise self._draining()
        if self._waiting >= self._max_queue:
            raise QueueFullError(
                f"the queue of model {self._model!r} is full ({self._max_queue} wait): try later, or add replicas",
                model=self._model,
                max_queue=self._max_queue,
            )
        ahead = sum(len(queue) for queue in self._queues[: rank + 1])
        expected = ahead / self._workers * self._pace.mean + self._pace.cautious
        if ahead and time.monotonic() + expected > deadline:
            raise QueueFullError(
                f"model {self._model!r} needs about {expected:.2g} s for those that wait already, which is past the "
                "deadline: try later, or add replicas",
                model=self._model,
            )
        return await self._wait(job, rank, deadline)

    async def probe(self, job: Job) -> Inferred:
        """As `submit`, but before all that waits, beyond any bound, and uncounted: to see whether the model answers."""
        return await self._wait(job, Rank.INTERACTIVE, math.inf, probe=True)

    def busy_seconds(self) -> float:
        """How long the batch has been under way that has been so for longest; 0 where none is."""
        with self._changed:
            return time.monotonic() - min(self._under_way.values()) if self._under_way else 0.0

    @property
    def batch_seconds(self) -> float:
        """How long a whole batch takes about; 0 where none has run yet."""
        return self._max_batch * self._pace.mean

    @property
    def last_success(self) -> float:
        """When a batch last ended with an answer, by `time.monotonic`; minus infinity where none has."""
        return self._pace.noted

    async def run(self) -> None:
        """Answer until stopped, then what waits."""
        for number in range(self._workers):
            # A daemon: one that hangs in a runtime must not keep the process from ending.
            threading.Thread(target=self._work, args=(number,), name=f"worker {number}", daemon=True).start()
        await self._ended.wait()

    def stop(self, within: float = math.inf) -> None:
        """Take no more images, and refuse those that wait which can't be answered within so many seconds.

        The youngest of the lowest rank are refused first, so that nothing is cut once work on it began.
        """
        with self._changed:
            self._stopping = True
            while self._waiting and within < _DRAIN_MARGIN * self._waiting / self._workers * self._pace.mean:
                lowest = next(queue for queue in reversed(self._queues) if queue)
                _refuse(lowest.pop().outcome, self._draining())
            self._changed.notify_all()

    def _draining(self) -> ModelUnavailableError:
        return ModelUnavailableError(f"model {self._model!r} is draining here: ask another of its servers")

    @property
    def _waiting(self) -> int:
        return sum(len(queue) for queue in self._queues)

    async def _wait(self, job: Job, rank: Rank, deadline: float, *, probe: bool = False) -> Inferred:
        outcome = self._loop.create_future()
        call = _Call(job, rank, time.monotonic(), deadline, outcome, probe=probe, span=tracing.recorded())
        queue = self._queues[rank]
        with self._changed:
            if probe:
                queue.appendleft(call)
            else:
                queue.append(call)
            self._changed.notify()
        try:
            return await call.outcome
        except asyncio.CancelledError:
            with self._changed, suppress(ValueError):  # a worker has it
                queue.remove(call)
            raise

    def _work(self, number: int) -> None:
        """What each thread does."""
        try:
            while calls := self._next(number):
                try:
                    outcomes = self._outcomes(calls)
                except Exception as error:  # noqa: BLE001 - a fault of ours or the runtime's: each caller is told
                    outcomes = [error] * len(calls)
                self._put_back(calls[len(outcomes) :])
                self._tell(_settle, calls[: len(outcomes)], outcomes)
        finally:
            self._tell(self._leave)

    def _put_back(self, calls: Sequence[_Call]) -> None:
        """Have what was left of a batch wait again, first of its rank, for whichever worker is free."""
        with self._changed:
            for call in reversed(calls):
                self._queues[call.rank].appendleft(call)
            self._changed.notify(len(calls))

    def _next(self, number: int) -> list[_Call]:
        """This worker's next batch, once there is one; none where it stops."""
        with self._changed:
            self._under_way.pop(number, None)
            while self._waiting or not self._stopping:
                if not self._waiting:
                    self._changed.wait()
                elif (delay := self._delay()) > 0:
                    self._changed.wait(delay)
                elif calls := self._take():
                    self._under_way[number] = time.monotonic()
                    return calls
            return []

    def _delay(self) -> float:
        """How long to wait for company still."""
        if not self._max_queue_delay or self._waiting >= self._max_batch or self._stopping:
            return 0.0
        oldest = min(queue[0].arrived for queue in self._queues if queue)
        return oldest + self._max_queue_delay - time.monotonic()

    def _take(self) -> list[_Call]:
        """This worker's share of what waits, without the calls that can't be answered in time any more."""
        free = self._workers - len(self._under_way)
        share = min(self._max_batch, -(-self._waiting // free))
        too_late = time.monotonic() + self._pace.cautious
        taken: list[_Call] = []
        for rank, queue in zip(Rank, self._queues, strict=True):
            if rank is Rank.REPLAY and taken:
                break
            while queue and len(taken) < share:
                call = queue.popleft()
                if call.outcome.done():  # cancelled a moment ago
                    continue
                if call.deadline <= too_late:
                    late = DeadlineError("no worker was free in time for the deadline: nothing was computed")
                    self._tell(_refuse, call.outcome, late)
                else:
                    taken.append(call)
        return taken

    def _outcomes(self, calls: Sequence[_Call]) -> list[Inferred | BaseException | None]:
        """How the calls of a batch ended, or the first of them where the others were left."""
        started = time.monotonic()
        outcomes = self._infer([call.job for call in calls], lambda number: not calls[number].outcome.done())
        answered = calls[: len(outcomes)]
        waited: list[Inferred | BaseException | None] = [
            outcome.waited(started - call.arrived) if isinstance(outcome, Inferred) else outcome
            for call, outcome in zip(answered, outcomes, strict=True)
        ]
        if any(isinstance(outcome, Inferred) for outcome in waited):
            self._pace.note((time.monotonic() - started) / len(waited))
        asked = [
            out for call, out in zip(answered, waited, strict=True) if isinstance(out, Inferred) and not call.probe
        ]
        self._metrics.batch(self._model, asked)
        traced = [
            (call.span, out)
            for call, out in zip(answered, waited, strict=True)
            if call.span is not None and isinstance(out, Inferred)
        ]
        if traced:
            record(traced, model=self._model, began=started, ended=time.monotonic())
        return waited

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        """Have the event loop do it, where it still runs."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *arguments)

    def _leave(self) -> None:
        self._left -= 1
        if not self._left:
            self._ended.set()


class _Pace:
    """How long an image keeps a worker: a moving mean, and what one may take at most by experience.

    As TCP keeps its round trips (RFC 6298): smoothed with 1/8, the deviation with 1/4, and four deviations for caution.
    """

    def __init__(self) -> None:
        self.mean = 0.0
        self.noted = -math.inf
        self._deviation = 0.0

    @property
    def cautious(self) -> float:
        """Seconds within which nearly every image is answered."""
        return self.mean + 4 * self._deviation

    def note(self, seconds: float) -> None:
        """One more batch, in seconds an image."""
        self.noted = time.monotonic()
        if not self.mean:
            self.mean, self._deviation = seconds, seconds / 2
            return
        self._deviation += (abs(seconds - self.mean) - self._deviation) / 4
        self.mean += (seconds - self.mean) / 8


def _settle(calls: Sequence[_Call], outcomes: Sequence[Inferred | BaseException | None]) -> None:
    for call, outcome in zip(calls, outcomes, strict=True):
        if call.outcome.done() or outcome is None:
            continue  # nobody waits for it any more
        if isinstance(outcome, Inferred):
            call.outcome.set_result(outcome)
        else:
            call.outcome.set_exception(outcome)


def _refuse(outcome: asyncio.Future[Inferred], error: FramemeshError) -> None:
    if not outcome.done():
        outcome.set_exception(error)
