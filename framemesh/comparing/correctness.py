"""Both sides against what people say of the same frames."""

from framemesh.comparing.answers import Said
from framemesh.comparing.comparison import Accuracy, Task
from framemesh.comparing.estimates import difference, mcnemar, p_value, share
from framemesh.comparing.judging import Judge, Judgement
from framemesh.comparing.tallies import Calibration, Ratios


class Correctness:
    """Counts who is right: an answer is where it agrees with what people say, by the task's own rule."""

    def __init__(self, task: Task, judge: Judge) -> None:
        self._judge = judge
        self._has_chances = task is Task.CLASSIFICATION  # a detector's best score is not that of all its objects
        self._right: Ratios[str] = Ratios()
        self._calibration = Calibration(), Calibration()
        self._only_a = self._only_b = 0

    def note(self, a: Said, b: Said, truth: Said) -> tuple[Judgement, Judgement]:
        """Count a frame; tells how A's and B's answers to it stand beside what people say."""
        of_a, of_b = self._judge.judge(a, truth), self._judge.judge(b, truth)
        self._right.note("a", of_a.agrees, 1)
        self._right.note("b", of_b.agrees, 1)
        self._right.note("difference", of_a.agrees - of_b.agrees, 1)
        self._only_a += of_a.agrees and not of_b.agrees
        self._only_b += of_b.agrees and not of_a.agrees
        if self._has_chances:
            for calibration, said, judged in zip(self._calibration, (a, b), (of_a, of_b), strict=True):
                calibration.note(said.score, right=judged.agrees)
        return of_a, of_b

    def close(self) -> None:
        """Close a camera-minute."""
        self._right.close()
        for calibration in self._calibration:
            calibration.over.close()

    def found(self) -> Accuracy | None:
        """What it comes to; none where people said nothing of these frames."""
        sums = self._right.sums
        a, b, gain = share(sums["a"]), share(sums["b"]), difference(sums["difference"])
        if a is None or b is None or gain is None:
            return None
        of_a, of_b = self._calibration
        return Accuracy(
            frames=round(a.count),
            a=a,
            b=b,
            difference=gain,
            p_clusters=p_value(sums["difference"]),
            only_a=self._only_a,
            only_b=self._only_b,
            p_mcnemar=mcnemar(self._only_a, self._only_b),
            calibration_a=of_a.error(),
            calibration_b=of_b.error(),
            overconfidence_a=of_a.overconfidence(),
            overconfidence_b=of_b.overconfidence(),
        )
