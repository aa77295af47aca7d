from dataclasses import fields
from typing import Any

import pytest

from framemesh.comparing import Comparison
from framemesh.comparing.comparison import Accuracy, Estimate
from framemesh.promoting import Thresholds, verdict


def estimate(value: float, reach: float = 0.05) -> Estimate:
    return Estimate(value, value - reach, value + reach, 100, 10, 4)


def comparison(
    *, agreement: float, compared: int = 200, accuracy: tuple[float, float, int] | None = None
) -> Comparison:
    """What was found of a shadow and a model, as far as a verdict looks at it."""
    found: Any = {field.name: None for field in fields(Comparison)}
    if accuracy is not None:
        shadow, model, frames = accuracy
        facts: Any = {field.name: None for field in fields(Accuracy)}
        facts |= {"frames": frames, "a": estimate(shadow), "b": estimate(model), "difference": estimate(shadow - model)}
        found["accuracy"] = Accuracy(**facts)
    return Comparison(**found | {"agreement": estimate(agreement), "compared": compared})


def test_what_holds_is_told_with_its_intervals() -> None:
    found = verdict(comparison(agreement=0.9, accuracy=(0.95, 0.875, 120)), Thresholds(0.9, 0.0, 100))
    assert found.failures == ()
    agreement, accuracy = found.figures
    assert agreement == "agreement 0.900 [0.850, 0.950] over 200 frames"
    assert accuracy.startswith("accuracy 0.950 [0.900, 1.000] for 0.875 [0.825, 0.925], a gain of +0.075 [+0.025, ")
    assert accuracy.endswith("+0.125] over 120 corrected frames")


@pytest.mark.parametrize(
    ("found", "wanted", "why"),
    [
        (comparison(agreement=0.89), Thresholds(0.9, None, 100), "they agree on 89.0% of frames, and 90.0% was asked"),
        (
            comparison(agreement=1, compared=99),
            Thresholds(0.9, None, 100),
            "only 99 of 100 frames have answers of both",
        ),
        (
            comparison(agreement=0, accuracy=(0.9, 0.91, 100)),
            Thresholds(None, 0.0, 100),
            "it is right -1.0% more often, and +0.0% was asked",
        ),
        (
            comparison(agreement=1, accuracy=(1, 0, 99)),
            Thresholds(None, 0.0, 100),
            "only 99 of 100 frames with answers",
        ),
        (comparison(agreement=1), Thresholds(None, -1.0, 1), "only 0 of 1 frames with answers of both are corrected"),
    ],
)
def test_what_does_not_hold_is_said(found: Comparison, wanted: Thresholds, why: str) -> None:
    (failure,) = verdict(found, wanted).failures
    assert why in failure
