"""What a reader has to know of a comparison's figures. Pure."""

from collections.abc import Iterator

from framemesh.comparing.comparison import Comparison, SideFacts, Task

_FEW_CLUSTERS = 10


def notes(found: Comparison) -> list[str]:
    """In sentences, the most serious first; none where there is nothing to warn of."""
    return [*_of_frames(found), *_of_answers(found), *_of_side("A", found.a, found.b), *_of_side("B", found.b, found.a)]


def _of_frames(found: Comparison) -> Iterator[str]:
    clusters = found.agreement.clusters
    if clusters == 1:
        yield (
            "All frames are of one camera-minute, and frames so near are nearly one frame: intervals of shares are the "
            "widest, and means have none."
        )
    elif clusters < _FEW_CLUSTERS:
        yield f"The frames are of {clusters} camera-minutes only, so the intervals are wide; compare more time."
    if found.compared < found.pairs:
        yield f"{found.compared:,} of the {found.pairs:,} frames that both answered were compared, evenly drawn."


def _of_answers(found: Comparison) -> Iterator[str]:
    named_a, named_b = any(each.a for each in found.classes), any(each.b for each in found.classes)
    if named_a and named_b and not any(each.a and each.b for each in found.classes):
        yield (
            "No class is named by both. Classes are matched by name, whatever their case and underscores: the models "
            "may have other names for the same things."
        )
    if found.task is Task.EMBEDDING and found.a.side.model != found.b.side.model:
        yield "Vectors of two models that are not one lie in different spaces, where their cosine says nothing."


def _of_side(letter: str, facts: SideFacts, other: SideFacts) -> Iterator[str]:
    if len(facts.versions) > 1:
        yield (
            f"{letter}'s answers are of {len(facts.versions)} versions; to compare one, write "
            f"{facts.side.model}@{next(iter(facts.versions))[:12]}."
        )
    if facts.alone:
        yield (
            f"{letter} alone answered {facts.alone:,} frames, which are left out; `framemesh replay --model "
            f"{other.side.model}` has the other answer them."
        )
    if facts.failed:
        yield f"{letter} failed on {facts.failed:,} frames, which are left out."
    if facts.staleness is None:
        yield f"{letter}'s answers were all replayed, so their age says nothing."
