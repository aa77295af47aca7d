"""Recipes: which frames become a dataset, with which labels, and how they are split. The same recipe makes the same.

A recipe's `as_of` fixes what is known: frames stored, answers given and corrections made until then. Pure.
"""

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from framemesh.corrections import CLASSIFICATION, LabelTask
from framemesh.errors import InvalidRequestError
from framemesh.times import EARLIEST, LATEST

Format = Literal["imagefolder", "webdataset"]
LabelSource = Literal["none", "results", "corrections", "corrected", "query"]
"""Whose labels: nobody's, a model's, people's, people's over a model's, or those that the query gives."""

SPLITS = ("train", "validation", "test")
_MINUTE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Choice:
    """Which frames. Each field narrows it down.

    Attributes:
        cameras: Only of these; none means all.
        since: Taken at this time or later.
        until: Taken at this time or earlier.
        labels: Only frames with one of these labels; of objects, only these.
        model: The model whose answers label, or choose by score; empty for none.
        min_score: The least score of the model's surest label; objects that it is less sure of are left out.
        max_score: The greatest score of the model's surest label.
        disagrees_with: Only frames to which this model gave another label; empty for all.
        query: SQL that gives `frame_id`, and maybe `label`, instead of all of the above but the model; empty for none.
        every_seconds: Of each camera at most one frame in each such span; 0 for all.
    """

    cameras: tuple[str, ...] = ()
    since: datetime = EARLIEST
    until: datetime = LATEST
    labels: tuple[str, ...] = ()
    model: str = ""
    min_score: float = 0.0
    max_score: float = 1.0
    disagrees_with: str = ""
    query: str = ""
    every_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Split:
    """How frames are told apart for training and judging.

    Attributes:
        train, validation, test: Shares of the groups; they make 1.
        group_seconds: Frames of one camera within such a span of time stay together: whole minutes.
        gap_seconds: Between frames of one camera in different splits lies at least this time: those between go.
        seed: Another one deals the groups out differently.
    """

    train: float = 0.8
    validation: float = 0.1
    test: float = 0.1
    group_seconds: int = 60
    gap_seconds: float = 1.0
    seed: int = 0

    @property
    def shares(self) -> dict[str, float]:
        """By name of the split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what a dataset holds.

    Attributes:
        as_of: What was stored, answered and corrected until then is known.
        labels: Whose labels.
        task: What they are for: the class of each image, or its objects.
        choose: Which frames.
        split: How they are told apart.
        format: How they are written; their digest does not depend on it.
    """

    as_of: datetime
    labels: LabelSource
    task: LabelTask = CLASSIFICATION
    choose: Choice = field(default_factory=Choice)
    split: Split = field(default_factory=Split)
    format: Format = "imagefolder"

    def checked(self) -> "Recipe":
        """The recipe, with its times in UTC.

        Raises:
            InvalidRequestError: It contradicts itself; the message says what to change.
        """
        choose, split = self.choose, self.split
        by_label = bool(choose.labels)
        for problem, is_so in (
            ("labels of a model's results need a model", self.labels in {"results", "corrected"} and not choose.model),
            ("labels of a query need a query", self.labels == "query" and not choose.query),
            ("the labels of a query are classes; objects come from results or corrections", self._query_boxes()),
            ("choosing by score needs a model", self._by_score() and not choose.model),
            ("a model disagrees with another: name both", bool(choose.disagrees_with) and not choose.model),
            ("min_score and max_score are from 0 to 1, the lesser first", not self._scores_fit()),
            ("the query chooses frames by itself: put cameras, times, labels and scores into it", self._said_twice()),
            ("a span of 0 seconds or more is needed to thin out frames", not _is_span(choose.every_seconds)),
            ("choosing by label needs labels, or a model", by_label and self.labels == "none" and not choose.model),
            ("shares are from 0 to 1 and make 1 together", not _are_shares(split)),
            ("groups are whole minutes of at least 60 seconds", not _is_group(split.group_seconds)),
            ("the gap is shorter than a group", not 0 <= split.gap_seconds < split.group_seconds),
        ):
            if is_so:
                raise InvalidRequestError(f"this recipe can't be: {problem}")
        times = {name: getattr(choose, name).astimezone(UTC) for name in ("since", "until")}
        return replace(self, as_of=self.as_of.astimezone(UTC), choose=replace(choose, **times))

    def _by_score(self) -> bool:
        return self.choose.min_score > 0 or self.choose.max_score < 1

    def _scores_fit(self) -> bool:
        return 0 <= self.choose.min_score <= self.choose.max_score <= 1

    def _query_boxes(self) -> bool:
        return self.labels == "query" and self.task != CLASSIFICATION

    def _said_twice(self) -> bool:
        choose = self.choose
        whole = replace(Choice(), model=choose.model, query=choose.query, every_seconds=choose.every_seconds)
        return bool(choose.query) and choose != whole


def _is_span(seconds: float) -> bool:
    return math.isfinite(seconds) and seconds >= 0


def _are_shares(split: Split) -> bool:
    shares = split.shares.values()
    return all(0 <= share <= 1 for share in shares) and math.isclose(sum(shares), 1, abs_tol=1e-6)


def _is_group(seconds: int) -> bool:
    return seconds >= _MINUTE_SECONDS and seconds % _MINUTE_SECONDS == 0
