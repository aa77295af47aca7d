"""How often each side names each class, and what one calls what the other calls something else."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from framemesh.comparing.answers import Said, name_of
from framemesh.comparing.comparison import ClassFacts, Confusion, Estimate
from framemesh.comparing.estimates import Sums, adjusted, difference, p_value
from framemesh.comparing.judging import Named
from framemesh.comparing.tallies import Mean, Ratios


@dataclass(slots=True)
class _Class:
    a: int = 0
    b: int = 0
    both: int = 0
    score_a: Mean = field(default_factory=Mean)
    score_b: Mean = field(default_factory=Mean)
    corrected: int = 0
    right_a: int = 0
    right_b: int = 0

    def found(self, label: str, difference: Estimate, p_adjusted: float) -> ClassFacts:
        return ClassFacts(
            label=label,
            a=self.a,
            b=self.b,
            both=self.both,
            difference=difference,
            p_adjusted=p_adjusted,
            score_a=self.score_a.value,
            score_b=self.score_b.value,
            corrected=self.corrected,
            right_a=self.right_a,
            right_b=self.right_b,
        )


class Classes:
    """The classes of a comparison, by what their names have in common."""

    def __init__(self) -> None:
        self._classes: dict[str, _Class] = defaultdict(_Class)
        self._differences: Ratios[str] = Ratios()
        self._whole = Sums()
        self._confusion: Counter[tuple[str, str]] = Counter()
        self._spellings: dict[str, str] = {}

    def spell(self, said: Said) -> None:
        """Take in how the classes of an answer are written."""
        for label in said.labels:
            self._spellings.setdefault(name_of(label["name"]), label["name"])

    def note(self, named: Named) -> None:
        """Count what the sides call one thing."""
        same = named.a == named.b
        if named.a:
            own = self._classes[named.a]
            own.a += 1
            own.both += same
            own.score_a.note(named.score_a)
            self._differences.note(named.a, 1, 0)
        if named.b:
            own = self._classes[named.b]
            own.b += 1
            own.score_b.note(named.score_b)
            self._differences.note(named.b, -1, 0)
        if not same:
            self._confusion[named.a, named.b] += 1

    def correct(self, of_a: Sequence[Named], of_b: Sequence[Named]) -> None:
        """Count what A, and what B, calls each thing that people name; theirs is the second name of both."""
        for named in of_a:
            if named.b:
                own = self._classes[named.b]
                own.corrected += 1
                own.right_a += named.a == named.b
        for named in of_b:
            if named.b:
                self._classes[named.b].right_b += named.a == named.b

    def close(self, frames: int) -> None:
        """Close a camera-minute of so many frames."""
        self._whole.add(0.0, frames)
        self._differences.close(whole=frames)

    def found(self) -> list[ClassFacts]:
        """Each class, those first whose difference is the surest."""
        differences = {name: self._differences.sums[name].out_of(self._whole) for name in self._classes}
        chances = adjusted([p_value(sums) for sums in differences.values()])
        found = []
        for (name, sums), chance in zip(differences.items(), chances, strict=True):
            own, gap = self._classes[name], difference(sums)
            if gap is not None:
                found.append(own.found(self._spelt(name), gap, chance))
        return sorted(found, key=lambda facts: (facts.p_adjusted, -abs(facts.difference.value), facts.label))

    def confusion(self, limit: int) -> tuple[Sequence[Confusion], int]:
        """What A calls one thing and B another, the most frequent first; and how often there is what isn't told."""
        every = sorted(self._confusion.items(), key=lambda each: (-each[1], each[0]))
        told = [Confusion(self._spelt(a), self._spelt(b), times) for (a, b), times in every[:limit]]
        return told, sum(times for _, times in every[limit:])

    def _spelt(self, name: str) -> str:
        """A class as the first who named it wrote it."""
        return self._spellings.get(name, name)
