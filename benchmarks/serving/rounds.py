"""The measurements: each contestant alone first, then all in turn, round by round."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.contestants import Contestant, Generator, Site, started
from benchmarks.serving.driving import Load, percentile
from benchmarks.serving.environments import UnavailableError
from benchmarks.serving.order import Form
from benchmarks.serving.targets import Target

_SETTLE_SECONDS = 0.1
_WARM_UP_SECONDS = 0.3
_IN_FLIGHT = 64  # the most at once in the open loop: two seconds' worth
_BURST = Load(8, None, 1.0, 0.0)
"""What is put on before memory is read."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        sizes: The folders of JPEGs by the name of their size.
        concurrencies: Closed loops: so many requests at once, each thread sending again when it has its answer.
        rate: The open loop: requests a second by a fixed schedule.
        rounds: How often all of it.
        seconds: How long each closed loop is measured.
        open_seconds: How long the open loop is: it needs more for its fewer requests.
    """

    sizes: dict[str, Path]
    concurrencies: tuple[int, ...]
    rate: float
    rounds: int
    seconds: float
    open_seconds: float

    def any_photos(self) -> Path:
        """A folder of JPEGs to ask a server with whether it answers."""
        return next(iter(self.sizes.values()))

    def loads(self) -> Iterator[tuple[str, Load]]:
        """Each load with its name."""
        for concurrency in self.concurrencies:
            yield f"{concurrency} at once", Load(concurrency, None, self.seconds, _WARM_UP_SECONDS)
        yield f"{self.rate:g}/s", Load(_IN_FLIGHT, self.rate, self.open_seconds, _WARM_UP_SECONDS)


@dataclass(frozen=True, slots=True)
class Trial:
    """A contestant alone on the machine.

    Attributes:
        name: The target's.
        form: How its images become input.
        problem: Why it can't be measured, or none.
        start_seconds: From its start to its first answer.
        rss_bytes: After some hundred requests, of all its processes.
        pss_bytes: The same with shared pages counted once.
    """

    name: str
    form: Form
    problem: str = ""
    start_seconds: float = 0.0
    rss_bytes: int = 0
    pss_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """One contestant under one load in one round. Times in seconds."""

    name: str
    form: Form
    size: str
    load: str
    round: int
    requests: int
    failed: int
    throughput: float
    p50: float
    p99: float
    cpu: float
    sender_cpu: float


@dataclass(slots=True)
class Results:
    """All that was measured."""

    trials: list[Trial] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def run(targets: list[Target], site: Site, plan: Plan) -> Results:
    """Measure. What can't be measured is noted with its reason."""
    results = Results()
    entrants = [(target, form) for target in targets for form in target.forms]
    with ExitStack() as stack:
        generator = Generator({}, site.cache / "load.log")
        stack.callback(generator.tree.stop)
        results.trials = list(_Trials(site, plan, generator).run(entrants))
        able = {(trial.name, trial.form) for trial in results.trials if not trial.problem}
        contestants: list[Contestant] = []
        for target, form in entrants:
            if (target.name, form) not in able:
                continue
            try:
                contestant = stack.enter_context(started(target, form, site, generator, plan.any_photos()))
            except UnavailableError as error:
                results.problems.append(f"{target.name} ({form}), second start: {error}")
                continue
            contestant.tree.pause()
            contestants.append(contestant)
        for number in range(plan.rounds):
            # Each round begins elsewhere, so that nobody always follows the same one.
            turned = number * len(contestants) // plan.rounds
            _round(number, contestants[turned:] + contestants[:turned], plan, results)
    return results


class _Trials:
    """Whether each starts here and answers rightly, and the memory that it takes alone."""

    def __init__(self, site: Site, plan: Plan, generator: Generator) -> None:
        self._site = site
        self._plan = plan
        self._generator = generator
        self._truths: dict[tuple[Form, str], list[list[int]]] = {}

    def run(self, entrants: list[tuple[Target, Form]]) -> Iterator[Trial]:
        """One after another, the limit first."""
        for target, form in entrants:
            try:
                trial = self._try(target, form)
            except UnavailableError as error:
                trial = Trial(target.name, form, str(error))
            told = trial.problem or f"answers after {trial.start_seconds:.1f} s"
            print(f"{trial.name} ({trial.form}): {told}", flush=True)
            yield trial

    def _try(self, target: Target, form: Form) -> Trial:
        began = time.monotonic()
        with started(target, form, self._site, self._generator, self._plan.any_photos()) as contestant:
            took = time.monotonic() - began
            for size, photos in self._plan.sizes.items():
                self._check(contestant, size, contestant.answers(photos))
                contestant.measure(photos, _BURST)
            rss, pss = contestant.tree.memory_bytes()
            return Trial(target.name, form, "", took, rss, pss)

    def _check(self, contestant: Contestant, size: str, answers: list[list[int]]) -> None:
        """The first class of each photo must be the limit's, which is the first to answer."""
        truth = self._truths.setdefault((contestant.form, size), answers)
        if [labels[0] for labels in answers] != [labels[0] for labels in truth]:
            raise UnavailableError(f"it answers {size} otherwise than the limit: {answers}")


def _round(number: int, contestants: list[Contestant], plan: Plan, results: Results) -> None:
    began = time.monotonic()
    for size, photos in plan.sizes.items():
        for load_name, load in plan.loads():
            for contestant in contestants:
                contestant.tree.resume()
                time.sleep(_SETTLE_SECONDS)
                try:
                    found, cpu = contestant.measure(photos, load)
                except UnavailableError as error:
                    results.problems.append(f"{contestant.name}, {size}, {load_name}, round {number + 1}: {error}")
                    continue
                finally:
                    contestant.tree.pause()
                if found.failed:
                    results.problems.append(
                        f"{contestant.name}, {size}, {load_name}, round {number + 1}: {found.failed} failed: "
                        f"{found.problem}"
                    )
                results.cells.append(
                    Cell(
                        name=contestant.target.name,
                        form=contestant.form,
                        size=size,
                        load=load_name,
                        round=number,
                        requests=found.total,
                        failed=found.failed,
                        throughput=found.throughput,
                        p50=percentile(found.latencies, 0.5),
                        p99=percentile(found.latencies, 0.99),
                        cpu=cpu,
                        sender_cpu=found.cpu_seconds / found.total,
                    )
                )
    print(f"round {number + 1} of {plan.rounds} took {time.monotonic() - began:.0f} s", flush=True)
