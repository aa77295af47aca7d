from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model_server import parity, samples
from model_server.building import Order, build
from model_server.inference import Model
from model_server.runtimes import Arrays, Runtime


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A runtime whose third class is a little off, or no number at all."""

    runtime: Runtime
    by: float

    on_cpu = True

    def run(self, pixels: NDArray[np.float32]) -> Arrays:
        logits = np.array(self.runtime.run(pixels)["logits"], np.float32)
        logits[:, 3] += self.by
        return {"logits": logits}

    def shrink(self, pixels: NDArray[np.float32]) -> None:
        raise NotImplementedError

    def embed(self, tokens: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        raise NotImplementedError


@pytest.fixture(scope="module")
def model(vit: Path, cache: Path) -> Model:
    return Model.load(build(Order(str(vit), cache)))


def compare(model: Model, ours: float, theirs: float = 0.0) -> parity.Parity:
    one, other = (
        parity.Witness(Model(model.manifest, Spoilt(model.runtime, by), model._preparer)) for by in (ours, theirs)
    )
    return parity.compare(one, other, samples.photos(None)[:3])


def test_the_same_model_agrees_with_itself(model: Model) -> None:
    found = compare(model, 0.0)
    assert (found.images, found.max_absolute_error, found.agreement, found.max_score_difference) == (3, 0.0, 1.0, 0.0)
    assert found.within(0.0)
    assert found.greatest_output > 0


def test_a_difference_is_measured(model: Model) -> None:
    found = compare(model, 0.05)
    assert found.max_absolute_error == pytest.approx(0.05, rel=1e-3)
    assert found.max_score_difference > 0
    assert not found.within(1e-3)


def test_an_output_that_is_no_number_agrees_with_nothing(model: Model) -> None:
    for ours, theirs in ((np.nan, 0.0), (0.0, np.nan), (-np.inf, 0.0)):
        assert not compare(model, ours, theirs).within(1e9)


def test_what_is_equally_infinite_agrees(model: Model) -> None:
    found = compare(model, -np.inf, -np.inf)
    assert found.max_absolute_error == 0
    assert np.isfinite(found.greatest_output)
