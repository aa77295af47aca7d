"""The frames on which the sides disagree, of which a person sees a few."""

import heapq
from itertools import count

from framemesh.comparing.answers import in_words
from framemesh.comparing.comparison import Disagreement, Task
from framemesh.comparing.judging import Judgement
from framemesh.comparing.pairs import Pair


class Disagreements:
    """Keeps those that most is learnt from: where both are sure of what can't both be.

    Of each kind in a camera-minute it keeps one, as the frames around it are alike.

    Args:
        task: What the answers are.
        min_score: Objects of a lower score are not told.
        limit: How many to keep.
    """

    def __init__(self, task: Task, *, min_score: float, limit: int) -> None:
        self.count = 0
        self._task = task
        self._min_score = min_score
        self._limit = limit
        self._open: dict[tuple[str, str], tuple[Pair, Judgement, int]] = {}
        self._kept: list[tuple[float, int, Disagreement]] = []
        self._order = count(step=-1)

    def note(self, pair: Pair, judged: Judgement) -> None:
        """Take in a frame on which the sides disagree."""
        self.count += 1
        kind = next(((named.a, named.b) for named in judged.named if named.a != named.b), ("", ""))
        worst, worst_judged, frames = self._open.get(kind, (pair, judged, 0))
        if judged.surprise > worst_judged.surprise:
            worst, worst_judged = pair, judged
        self._open[kind] = worst, worst_judged, frames + 1

    def close(self) -> None:
        """Close a camera-minute."""
        for pair, judged, frames in self._open.values():
            heapq.heappush(self._kept, (judged.surprise, next(self._order), self._told(pair, judged, frames)))
            if len(self._kept) > self._limit:
                heapq.heappop(self._kept)
        self._open.clear()

    def found(self) -> list[Disagreement]:
        """Those that were kept, the one to learn most from first."""
        return [told for *_, told in sorted(self._kept, key=lambda each: each[:2], reverse=True)]

    def _told(self, pair: Pair, judged: Judgement, frames: int) -> Disagreement:
        a, b = pair.a.said, pair.b.said
        return Disagreement(
            frame_id=pair.frame_id,
            object_key=pair.object_key,
            camera=pair.camera,
            capture_time=pair.capture_time,
            a=in_words(a, self._task, min_score=self._min_score),
            b=in_words(b, self._task, min_score=self._min_score),
            score_a=a.score,
            score_b=b.score,
            likeness=judged.likeness,
            frames=frames,
            corrected=None if pair.truth is None else in_words(pair.truth, self._task),
        )
