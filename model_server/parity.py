"""How well one way to run a model agrees with another, on real photos, as a report."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framemesh.errors import FramemeshError
from framemesh.v1.answer_pb2 import AnswerOptions
from model_server.agreement import agreement
from model_server.inference import Inferred, Job, Model
from model_server.tasks import Detection, Outputs

OPTIONS = AnswerOptions(candidate_labels=("a cat", "a cup of coffee", "a rocket", "a person", "a car", "a dog"))
"""What zero-shot models are asked where they are compared; others ignore it."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How well two ways agree.

    Attributes:
        images: How many images were compared.
        max_absolute_error: The greatest difference of two outputs; infinite where their shapes differ.
        greatest_output: The greatest absolute output, to see the error against.
        agreement: The mean share of the answers that agree, from 0 to 1: for a classifier, of the best classes.
        max_score_difference: The greatest difference of two scores, or of two values as a share of their range.
    """

    images: int
    max_absolute_error: float
    greatest_output: float
    agreement: float
    max_score_difference: float

    def within(self, tolerance: float) -> bool:
        """Whether the error is a small share of the outputs, or absolutely small where those are under 1."""
        return self.max_absolute_error <= tolerance * max(1.0, self.greatest_output)


class Witness:
    """A model that is compared: it is asked about each photo once, however often and with whatever it is compared."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._known: dict[bytes, Inferred] = {}

    def answers(self, photos: Sequence[bytes]) -> list[Inferred]:
        """What it says of each photo.

        Raises:
            FramemeshError: It fails on one.
        """
        for photo in photos:
            if photo not in self._known:
                (self._known[photo],) = self.answers_together([photo])
        return [self._known[photo] for photo in photos]

    def answers_together(self, photos: Sequence[bytes]) -> list[Inferred]:
        """What it says of each photo when it is asked about all at once.

        Raises:
            FramemeshError: It fails on one.
        """
        found: list[Inferred] = []
        for outcome in self.model.infer([Job(photo, OPTIONS) for photo in photos]):
            if isinstance(outcome, FramemeshError):
                raise outcome
            assert outcome is not None  # noqa: S101 - everything was wanted
            found.append(outcome)
        return found


def compare(ours: Witness, theirs: Witness, photos: Sequence[bytes], *, batch: int = 1) -> Parity:
    """Ask both about the same encoded photos.

    Args:
        ours: What is asked about batches, where they are of more than one.
        theirs: What it is compared with.
        photos: JPEG, PNG or WebP.
        batch: How many photos go together.

    Raises:
        FramemeshError: One of them fails on a photo.
    """
    if batch == 1:
        answers = ours.answers(photos)
    else:
        starts = range(0, len(photos), batch)
        answers = [one for start in starts for one in ours.answers_together(photos[start : start + batch])]
    detects = isinstance(ours.model.manifest.task, Detection)
    shares, differences, errors, greatest = [], [], [0.0], [0.0]
    for got, wanted in zip(answers, theirs.answers(photos), strict=True):
        assert got.answer is not None and wanted.answer is not None  # noqa: S101, PT018 - they were asked for
        found = agreement(got.answer, wanted.answer)
        shares.append(found.share)
        differences.append(found.difference)
        for name, output in wanted.outputs.items():
            if output.shape != got.outputs[name].shape:  # as of a graph that was fixed to one size of input
                errors.append(np.inf)
                continue
            if not output.size:
                continue
            if not detects:
                errors.append(_greatest_error(got.outputs[name].astype(np.float64), output.astype(np.float64)))
            greatest.append(float(np.abs(output[np.isfinite(output)]).max(initial=0.0)))
        if detects:
            errors.append(_error_of_queries(got.outputs, wanted.outputs))
    # numpy's maximum, as Python's own overlooks what is no number.
    return Parity(len(shares), float(np.max(errors)), max(greatest), float(np.mean(shares)), max(differences))


def _greatest_error(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """The greatest difference; NaN where one has NaN, 0 where both are equally infinite, as masked scores are."""
    with np.errstate(invalid="ignore"):
        return float(np.abs(np.where(ours == theirs, 0.0, ours - theirs)).max())


def _error_of_queries(ours: Outputs, theirs: Outputs) -> float:
    """The greatest difference of a detector's queries that belong together, but for the hundredth that fits worst.

    Detectors such as RT-DETR take the image's best places for queries. Near ties fall either way, which changes the
    queries' order and may put another place last.
    """
    got, wanted = (np.concatenate([outputs["logits"][0], outputs["boxes"][0]], axis=1) for outputs in (ours, theirs))
    if got.shape != wanted.shape or not got.size:
        return 0.0
    errors = np.sort([np.abs(got - query).max(axis=1).min() for query in wanted])
    return float(errors[-1 - len(errors) // 100])
