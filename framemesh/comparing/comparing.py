"""Compares two models over the same stored frames."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import reduce

from framemesh.comparing.answers import task_of
from framemesh.comparing.comparison import Comparison, Side, Task
from framemesh.comparing.counting import Counting
from framemesh.comparing.notes import notes
from framemesh.comparing.pairs import Coverage, Hour, Pair, Pairs
from framemesh.errors import FrameNotFoundError, InvalidRequestError
from framemesh.query import LakeTables

SAMPLE = 2000
"""How many frames are compared where answers are pictures or long vectors, unless more are asked for."""

_LARGE = {Task.SEGMENTATION, Task.DEPTH, Task.EMBEDDING, Task.KEYPOINTS}
_CONFUSIONS = 50

OnProgress = Callable[[int, int], None]
"""Told how many frames are compared, of how many; what it raises ends the comparison."""


def nobody(done: int, total: int) -> None:
    """Tell nobody."""


def compare(
    lake: LakeTables,
    a: Side,
    b: Side,
    *,
    since: datetime,
    until: datetime,
    cameras: Sequence[str] = (),
    min_score: float = 0.0,
    max_frames: int | None = None,
    limit: int = 50,
    on_progress: OnProgress = nobody,
) -> Comparison:
    """Compare two models, or two versions of one, over the stored frames that both have answered.

    Memory grows with the answers of one hour, and with the cameras and classes that there are.

    Args:
        lake: The lake's tables; ask them nothing else meanwhile.
        a: One side.
        b: The other.
        since: Only frames taken then or later.
        until: Only frames taken then or earlier.
        cameras: Only frames of these; none means all.
        min_score: Objects of a lower score count as not seen.
        max_frames: About as many are compared, evenly chosen; none means all, or `SAMPLE` of answers that are large.
        limit: How many disagreements to list.
        on_progress: Told how far it is.

    Raises:
        InvalidRequestError: Both sides are the same, or can't be compared: their tasks differ.
        ModelNotFoundError: The lake has no answers of one of the models.
        FrameNotFoundError: No frame has an answer of both.
        LakeUnavailableError: The lake can't be read now.
    """
    if a == b:
        raise InvalidRequestError(f"{a} is compared with itself: name another model, or versions as {a.model}@VERSION")
    pairs = Pairs(lake, a, b, cameras, since, until)
    pairs.check()
    on_progress(0, 0)
    hours: dict[Hour, Coverage] = {}
    for hour in pairs.hours():
        hours[hour] = pairs.coverage(hour)
        on_progress(0, 0)
    covered = reduce(Coverage.plus, hours.values(), Coverage())
    if not covered.both:
        raise FrameNotFoundError(_nothing_shared(a, b, covered))
    shared = [hour for hour, coverage in hours.items() if coverage.both]
    task = _task(pairs, shared)
    most = max_frames or (SAMPLE if task in _LARGE else covered.both)
    share = min(1.0, most / covered.both)
    counting = Counting(task, min_score=min_score, limit=limit)
    for hour in shared:
        for pair in pairs.of(hour, task, share=share):
            _check(pair, task)
            counting.take(pair)
            if counting.compared % 256 == 0:
                on_progress(counting.compared, round(covered.both * share))
    counting.close()
    agreement = counting.agreement()
    if agreement is None:
        raise InvalidRequestError(f"{most:,} of {covered.both:,} frames are too few to draw evenly: ask for more")
    confusion, left_out = counting.classes.confusion(_CONFUSIONS)
    found = Comparison(
        task=task,
        since=since,
        until=until,
        cameras=tuple(cameras),
        a=counting.a.found(a, answered=covered.answered_a, failed=covered.failed_a, both=covered.both),
        b=counting.b.found(b, answered=covered.answered_b, failed=covered.failed_b, both=covered.both),
        pairs=covered.both,
        compared=counting.compared,
        first_time=counting.first_time,
        last_time=counting.last_time,
        agreement=agreement,
        rule=counting.judge.rule,
        measures=counting.measures(),
        classes=counting.classes.found(),
        cameras_found=counting.cameras(),
        confusion=confusion,
        confusions_left_out=left_out,
        disagreements=counting.disagreements.found(),
        disagreeing=counting.disagreements.count,
        accuracy=counting.correctness.found(),
        notes=(),
    )
    return replace(found, notes=notes(found))


def _nothing_shared(a: Side, b: Side, covered: Coverage) -> str:
    """Why there is nothing to compare, and what to do."""
    told = f"no frame of that time and those cameras has an answer of both: {a} answered {covered.answered_a:,} frames "
    told += f"and {b} {covered.answered_b:,}"
    few = min((covered.answered_a, a.model), (covered.answered_b, b.model))[1]
    return f"{told}; ask for another time, or have {few} answer stored frames: framemesh replay --model {few}"


def _task(pairs: Pairs, shared: Sequence[Hour]) -> Task:
    """What both sides answer.

    Raises:
        InvalidRequestError: They answer different things.
    """
    one, other = (
        next((task for hour in reversed(shared) if (task := pairs.task(side, hour))), None)
        for side in (pairs.a, pairs.b)
    )
    if one and other and one is not other:
        raise InvalidRequestError(
            f"{pairs.a} gives answers of {one} and {pairs.b} of {other}: only models of one task can be compared"
        )
    return one or other or Task.DETECTION  # neither ever saw anything, which only a detector may say


def _check(pair: Pair, task: Task) -> None:
    """Pass answers of the task: a model of before may have had another under the same name.

    Raises:
        InvalidRequestError: One isn't.
    """
    for answered in (pair.a, pair.b):
        if task_of(answered.said) not in {task, None}:
            raise InvalidRequestError(
                f"the answer to {pair.frame_id} by version {answered.version or 'unknown'} is no {task}: the model had "
                "another task then; compare from a later time, or name a version as MODEL@VERSION"
            )
