"""Takes in one pair of answers after the other, camera-minute by camera-minute."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from framemesh.comparing.classes import Classes
from framemesh.comparing.comparison import CameraFacts, Estimate, Measure, Side, SideFacts, Task
from framemesh.comparing.correctness import Correctness
from framemesh.comparing.disagreeing import Disagreements
from framemesh.comparing.estimates import Sums, adjusted, mean, p_value, share
from framemesh.comparing.judging import judge_of
from framemesh.comparing.pairs import Answered, Pair
from framemesh.comparing.tallies import Mean, Quantiles, Ratios


@dataclass(slots=True)
class SideCounts:
    """How one side answered."""

    versions: Counter[str] = field(default_factory=Counter)
    shadows: int = 0
    latency: Quantiles = field(default_factory=Quantiles)
    inference: Quantiles = field(default_factory=Quantiles)
    staleness: Quantiles = field(default_factory=Quantiles)
    score: Mean = field(default_factory=Mean)

    def note(self, answered: Answered) -> None:
        """Count an answer."""
        self.versions[answered.version] += 1
        self.shadows += answered.shadow
        self.latency.note(answered.latency_seconds)
        self.inference.note(answered.inference_seconds)
        self.staleness.note(answered.staleness_seconds)
        self.score.note(answered.said.score)

    def found(self, side: Side, *, answered: int, failed: int, both: int) -> SideFacts:
        """What it comes to, of a side that answered and failed on so many frames, and so many that both answered."""
        return SideFacts(
            side=side,
            versions=dict(self.versions.most_common()),
            shadow=self.shadows == self.versions.total(),
            answered=answered,
            failed=failed,
            alone=answered - both,
            latency=self.latency.found(),
            inference=self.inference.found(),
            staleness=self.staleness.found(),
            mean_score=self.score.value,
        )


class Counting:
    """All that is counted of one comparison.

    Args:
        task: What both sides answer.
        min_score: Objects of a lower score are as if they weren't there.
        limit: How many disagreements are kept.
    """

    def __init__(self, task: Task, *, min_score: float, limit: int) -> None:
        self.judge = judge_of(task, min_score=min_score)
        self.a, self.b = SideCounts(), SideCounts()
        self.classes = Classes()
        self.correctness = Correctness(task, self.judge)
        self.disagreements = Disagreements(task, min_score=min_score, limit=limit)
        self.compared = 0
        self.first_time, self.last_time = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
        self._cluster: tuple[str, datetime] | None = None
        self._frames = 0
        self._agreement: Ratios[str] = Ratios()  # by camera, as the next
        self._scores: Ratios[str] = Ratios()
        self._parts: Ratios[str] = Ratios()

    def take(self, pair: Pair) -> None:
        """Count a pair. Those of a camera-minute come together."""
        cluster = pair.camera, pair.capture_time.replace(second=0, microsecond=0)
        if cluster != self._cluster:
            self.close()
            self._cluster = cluster
        self._frames += 1
        self.compared += 1
        self.first_time = min(self.first_time, pair.capture_time)
        self.last_time = max(self.last_time, pair.capture_time)
        self.a.note(pair.a)
        self.b.note(pair.b)
        a, b = pair.a.said, pair.b.said
        judged = self.judge.judge(a, b)
        self._agreement.note(pair.camera, judged.agrees, 1)
        if a.score is not None and b.score is not None:
            self._scores.note(pair.camera, a.score - b.score, 1)
        for name, (y, n) in judged.parts.items():
            self._parts.note(name, y, n)
        self.classes.spell(a)
        self.classes.spell(b)
        for named in judged.named:
            self.classes.note(named)
        if not judged.agrees:
            self.disagreements.note(pair, judged)
        if pair.truth is not None:
            self.classes.spell(pair.truth)
            of_a, of_b = self.correctness.note(a, b, pair.truth)
            self.classes.correct(of_a.named, of_b.named)

    def close(self) -> None:
        """Close the open camera-minute."""
        self.classes.close(self._frames)
        self.correctness.close()
        self.disagreements.close()
        for ratios in (self._agreement, self._scores, self._parts):
            ratios.close()
        self._frames = 0

    def agreement(self) -> Estimate | None:
        """Share of the frames on which both say the same; none where nothing was compared."""
        return share(self._every())

    def measures(self) -> list[Measure]:
        """The task's own measures, of what there was to measure."""
        found = []
        for name, gauge in self.judge.measures.items():
            sums = self._parts.sums[name]
            estimate = share(sums) if gauge.is_share else mean(sums)
            if estimate is not None:
                found.append(Measure(name, gauge.meaning, estimate))
        return found

    def cameras(self) -> list[CameraFacts]:
        """Each camera, the least agreeing first."""
        every, sums = self._every(), self._agreement.sums
        chances = adjusted([p_value(own, other=every - own) for own in sums.values()])
        found = [
            CameraFacts(camera, round(own.n), estimate, chance, mean(self._scores.sums[camera]))
            for (camera, own), chance in zip(sums.items(), chances, strict=True)
            if (estimate := share(own)) is not None
        ]
        return sorted(found, key=lambda facts: (facts.agreement.value, facts.camera))

    def _every(self) -> Sums:
        return sum(self._agreement.sums.values(), Sums())
