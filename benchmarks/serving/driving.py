"""Keeps something busy for a while with threads, and times each request."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from threading import Thread

_MAX_FAILURES = 20


@dataclass(frozen=True, slots=True)
class Load:
    """How requests come.

    Attributes:
        concurrency: Threads that send. In an open loop the most requests at once.
        rate: Requests a second by a fixed schedule, or none: each thread sends again when it has its answer.
        seconds: How long is measured.
        warm_up_seconds: What comes before that.
    """

    concurrency: int
    rate: float | None
    seconds: float
    warm_up_seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a load.

    Attributes:
        total: Requests answered, those before and after the measured span among them.
        throughput: Answers a second in the measured span.
        latencies: In seconds, of requests that began in the measured span. By a schedule they count from when the
            request was due, so a late start is part of them.
        failed: Requests without an answer.
        problem: What the first of these said.
        cpu_seconds: CPU time of the sending process.
    """

    total: int
    throughput: float
    latencies: list[float]
    failed: int
    problem: str
    cpu_seconds: float


def percentile(latencies: Sequence[float], share: float) -> float:
    """The latency that a share (in hundredths) of the requests don't exceed, interpolated."""
    if len(latencies) < 2:
        return latencies[0] if latencies else float("nan")
    return quantiles(latencies, n=100, method="inclusive")[round(share * 100) - 1]


def drive(works: Sequence[Callable[[int], object]], load: Load) -> Measured:
    """Put a load on, a thread for each of `works`, which are called with the request's number.

    Ends by itself: after the load's time, the requests then under way, and no more than 20 failures.
    """
    driver = _Driver(load)
    cpu = time.process_time()
    threads = [Thread(target=driver.run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return driver.measured(time.process_time() - cpu)


class _Driver:
    """What the threads share."""

    def __init__(self, load: Load) -> None:
        self._rate = load.rate
        self._numbers = itertools.count()
        self._began = time.perf_counter() + 0.01  # all threads are there by then
        self._opened = self._began + load.warm_up_seconds
        self._closed = self._opened + load.seconds
        self._spans: list[tuple[float, float]] = []  # start or due time, and end
        self._problems: list[str] = []

    def run(self, work: Callable[[int], object]) -> None:
        """One request after another, until the time is over."""
        while len(self._problems) < _MAX_FAILURES:
            number = next(self._numbers)
            start = self._due(number)
            if start >= self._closed:
                return
            wait = start - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            try:
                work(number)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is no answer
                self._problems.append(f"{type(error).__name__}: {error}"[:500])
            else:
                self._spans.append((start, time.perf_counter()))

    def measured(self, cpu_seconds: float) -> Measured:
        """What came of it."""
        seconds = self._closed - self._opened
        return Measured(
            total=len(self._spans),
            throughput=sum(self._opened <= end < self._closed for _, end in self._spans) / seconds,
            latencies=[end - start for start, end in self._spans if self._opened <= start],
            failed=len(self._problems),
            problem=next(iter(self._problems), ""),
            cpu_seconds=cpu_seconds,
        )

    def _due(self, number: int) -> float:
        if self._rate is None:
            return max(time.perf_counter(), self._began)
        return self._began + number / self._rate
