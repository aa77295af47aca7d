"""A comparison in words and tables, for terminals and reports alike. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from framemesh.comparing.comparison import (
    Accuracy,
    Comparison,
    CpuCost,
    Disagreement,
    Estimate,
    Seconds,
    SideFacts,
)
from framemesh.words import printable, span

CERTAIN = 0.05
_NONE = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words.

    Attributes:
        title: What they are about.
        columns: What each column is; the first names the row.
        rows: Each as long as `columns`.
        legend: How to read them, in a sentence; may be empty.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    legend: str = ""


def headline(found: Comparison) -> str:
    """The whole in a sentence."""
    agreement = found.agreement
    return (
        f"{found.a.side} and {found.b.side} agree on {percent(agreement)} of {found.compared:,} "
        f"{'frame' if found.compared == 1 else 'frames'}: {found.rule}."
    )


def tables(found: Comparison, *, limit: int) -> Iterator[Table]:
    """The tables of a comparison, of at most so many rows each; those without rows are left out."""
    for table in (
        _sides(found), _accuracy(found.accuracy, found), _measures(found), _classes(found, limit),
        _cameras(found, limit), _confusion(found, limit),
    ):  # fmt: skip
        if table is not None and table.rows:
            yield table


def _sides(found: Comparison) -> Table:
    a, b = found.a, found.b
    rows = [
        ("version", *(_versions(facts) for facts in (a, b))),
        ("answered frames", f"{a.answered:,}", f"{b.answered:,}"),
        ("of those, alone", f"{a.alone:,}", f"{b.alone:,}"),
        ("failed", f"{a.failed:,}", f"{b.failed:,}"),
    ]
    for what, of_a, of_b in (
        ("latency", a.latency, b.latency),
        ("of it, running the model on its batch", a.inference, b.inference),
        ("age of the frame at the answer", a.staleness, b.staleness),
    ):
        if of_a or of_b:
            rows.append((what, _seconds(of_a), _seconds(of_b)))
    if a.cpu or b.cpu:
        rows.append(("CPU for each answer", _cpu(a.cpu), _cpu(b.cpu)))
    if a.mean_score is not None and b.mean_score is not None:
        rows.append(("mean of the best score", f"{a.mean_score:.3f}", f"{b.mean_score:.3f}"))
    legend = "Times are of the compared frames, as median and 99th percentile."
    if a.cpu or b.cpu:
        legend += (
            " CPU is that of the model's servers since they started, loading included, by the answers that they gave: "
            "it is not of these frames alone."
        )
    return Table("Side by side", ("", f"A: {_named(a)}", f"B: {_named(b)}"), rows, legend)


def _accuracy(accuracy: Accuracy | None, found: Comparison) -> Table | None:
    if accuracy is None:
        return None
    rows = [
        ("right", percent(accuracy.a), percent(accuracy.b), points(accuracy.difference)),
        ("right where the other is not", f"{accuracy.only_a:,}", f"{accuracy.only_b:,}", _NONE),
    ]
    if accuracy.overconfidence_a and accuracy.overconfidence_b:
        rows.append(("score less right", points(accuracy.overconfidence_a), points(accuracy.overconfidence_b), _NONE))
    if accuracy.calibration_a is not None and accuracy.calibration_b is not None:
        rows.append(
            ("expected calibration error", f"{accuracy.calibration_a:.3f}", f"{accuracy.calibration_b:.3f}", _NONE)
        )
    legend = (
        f"On {accuracy.frames:,} frames that people corrected. Were both equally good, chance alone would set them so "
        f"far apart {chance(accuracy.p_clusters)} of the time (McNemar's test for clustered pairs; taking frames for "
        f"independent, {chance(accuracy.p_mcnemar)})."
    )
    return Table("Against what people say", ("", str(found.a.side), str(found.b.side), "A less B"), rows, legend)


def _measures(found: Comparison) -> Table:
    rows = [
        ("agreement", f"{found.agreement.value:.3f}", interval(found.agreement), f"share of frames: {found.rule}"),
        *(
            (each.name, f"{each.estimate.value:.3f}", interval(each.estimate), each.meaning)
            for each in found.measures
        ),
    ]  # fmt: skip
    agreement = found.agreement
    legend = (
        f"Intervals hold the true value in 95 of 100 samples like this one, of {agreement.clusters:,} camera-minutes: "
        f"the {found.compared:,} frames say as much as {agreement.effective_count:,.0f} independent ones."
    )
    return Table("How alike", ("", "", "95 % interval", "what it is"), rows, legend)


def _classes(found: Comparison, limit: int) -> Table:
    corrected = any(each.corrected for each in found.classes)
    rows = []
    for each in found.classes[:limit]:
        row = [
            each.label, f"{each.a:,}", f"{each.b:,}", f"{each.both:,}", points(each.difference),
            "yes" if each.p_adjusted < CERTAIN else _NONE, _score(each.score_a), _score(each.score_b),
        ]  # fmt: skip
        if corrected:
            row += [f"{each.corrected:,}", f"{each.right_a:,}", f"{each.right_b:,}"] if each.corrected else [_NONE] * 3
        rows.append(row)
    columns = ["class", "A", "B", "both", "A less B, for 100 frames", "certain", "A's score", "B's score"]
    columns += ["people", "A right", "B right"] if corrected else []
    left = len(found.classes) - len(rows)
    legend = (
        "Certain: of differences like these, one in twenty is chance, however many classes there are (Benjamini and "
        "Yekutieli)."
    )
    return Table("Classes", columns, rows, f"{legend} {left:,} more classes are not shown." if left else legend)


def _cameras(found: Comparison, limit: int) -> Table:
    rows = [
        (
            each.camera, f"{each.frames:,}", percent(each.agreement), "yes" if each.p_adjusted < CERTAIN else _NONE,
            points(each.score_difference) if each.score_difference else _NONE,
        )
        for each in found.cameras_found[:limit]
    ]  # fmt: skip
    return Table(
        "Cameras",
        ("camera", "frames", "agreement", "unlike the others", "A's score less B's, in points"),
        rows,
        "Unlike the others: certain as above.",
    )


def _confusion(found: Comparison, limit: int) -> Table:
    rows = [
        (each.label_a or "nothing", each.label_b or "nothing", f"{each.count:,}") for each in found.confusion[:limit]
    ]
    left = found.confusions_left_out + sum(each.count for each in found.confusion[limit:])
    return Table("Where they differ", ("A says", "B says", "times"), rows, f"{left:,} times more." if left else "")


def disagreement(told: Disagreement) -> str:
    """A disagreement in a line."""
    words = f"A: {_scored(told.a, told.score_a)}; B: {_scored(told.b, told.score_b)}"
    return f"{words}; people: {told.corrected}" if told.corrected else words


def percent(estimate: Estimate) -> str:
    """A share with its interval, such as `91.2 % (87.1 to 94.2)`."""
    return f"{100 * estimate.value:.1f} % ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"


def points(estimate: Estimate) -> str:
    """A difference of shares with its interval, such as `+4.1 (+1.0 to +7.2)`, in hundredths."""
    if math.isinf(estimate.low):
        return f"{100 * estimate.value:+.1f}"
    return f"{100 * estimate.value:+.1f} ({100 * estimate.low:+.1f} to {100 * estimate.high:+.1f})"


def interval(estimate: Estimate) -> str:
    """An interval, such as `0.871 to 0.942`; empty where it has no ends."""
    return _NONE if math.isinf(estimate.low) else f"{estimate.low:.3f} to {estimate.high:.3f}"


def chance(p: float) -> str:
    """A p-value as a share of the time."""
    return f"{100 * p:.2g} %" if p >= 1e-4 else "less than 0.01 %"


def _named(facts: SideFacts) -> str:
    return f"{facts.side} (shadow)" if facts.shadow else str(facts.side)


def _versions(facts: SideFacts) -> str:
    """The version that gave most answers, and how many others there are."""
    if not facts.versions:
        return _NONE
    first = next(iter(facts.versions))[:12] or "unknown"
    return first if len(facts.versions) == 1 else f"{first} and {len(facts.versions) - 1} more"


def _seconds(found: Seconds | None) -> str:
    return f"{span(found.p50)} / {span(found.p99)}" if found else _NONE


def _cpu(cost: CpuCost | None) -> str:
    return span(cost.cpu_seconds / cost.answers) if cost else _NONE


def _score(score: float | None) -> str:
    return _NONE if score is None else f"{score:.3f}"


def _scored(words: str, score: float | None) -> str:
    return printable(words if score is None else f"{words} {score:.2f}")
