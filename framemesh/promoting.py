"""Whether a shadow may take a model's place, by a comparison of both and what a user wants of it. Pure."""

from dataclasses import dataclass

from framemesh.comparing import Comparison
from framemesh.comparing.comparison import Estimate


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What has to hold.

    Attributes:
        agreement: Share of frames on which both say the same; None where that doesn't matter.
        accuracy_gain: What the shadow is right more often, as a share of corrected frames; None likewise.
        frames: On how many frames each of them has to be seen.
    """

    agreement: float | None
    accuracy_gain: float | None
    frames: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it.

    Attributes:
        figures: What was found, a line for each.
        failures: What doesn't hold, and what may be done about it; none where all does.
    """

    figures: tuple[str, ...]
    failures: tuple[str, ...]


def verdict(found: Comparison, wanted: Thresholds) -> Verdict:
    """What a comparison of a shadow (A) with a model (B) says of thresholds.

    The figures themselves count, and not the ends of their intervals, which are told beside them.
    """
    figures, failures = [], []
    if wanted.agreement is not None:
        figures.append(f"agreement {_share(found.agreement)} over {found.compared:,} frames")
        if found.compared < wanted.frames:
            failures.append(f"only {found.compared:,} of {wanted.frames:,} frames have answers of both: wait for more")
        if found.agreement.value < wanted.agreement:
            failures.append(
                f"they agree on {found.agreement.value:.1%} of frames, and {wanted.agreement:.1%} was asked"
            )
    if wanted.accuracy_gain is not None:
        accuracy = found.accuracy
        corrected = accuracy.frames if accuracy else 0
        if accuracy is not None:
            figures.append(
                f"accuracy {_share(accuracy.a)} for {_share(accuracy.b)}, "
                f"a gain of {accuracy.difference.value:+.3f} [{accuracy.difference.low:+.3f}, "
                f"{accuracy.difference.high:+.3f}] over {corrected:,} corrected frames"
            )
            if accuracy.difference.value < wanted.accuracy_gain:
                gain, asked = f"{accuracy.difference.value:+.1%}", f"{wanted.accuracy_gain:+.1%}"
                failures.append(f"it is right {gain} more often, and {asked} was asked")
        if corrected < wanted.frames:
            failures.append(
                f"only {corrected:,} of {wanted.frames:,} frames with answers of both are corrected: say what more of "
                "them show with `framemesh correct`"
            )
    return Verdict(tuple(figures), tuple(failures))


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
