"""What a comparison of two models found. Plain values: a page, a report or a rule for promotion takes what it needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Task(StrEnum):
    """What kind of answer both models give."""

    CLASSIFICATION = "classification"
    DETECTION = "detection"
    SEGMENTATION = "segmentation"
    DEPTH = "depth"
    EMBEDDING = "embedding"
    TEXT = "text"
    KEYPOINTS = "keypoints"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared.

    Attributes:
        model: Name of the model.
        version: Only answers of the version that begins like this; empty means the newest answer to each frame.
    """

    model: str
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> "Side":
        """A side as users write it: `lite0`, or `lite0@4f1c2ab` for one version of it."""
        model, _, version = text.partition("@")
        return cls(model, version)

    def __str__(self) -> str:
        return f"{self.model}@{self.version}" if self.version else self.model


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share or a mean, with the interval that holds the true one in 95 of 100 samples like this.

    Frames of the same camera in the same minute count as one cluster (see `framemesh.comparing.estimates`).

    Attributes:
        value: The share, from 0 to 1, or the mean.
        low: Lower end of the interval; minus infinity where one cluster says nothing of others.
        high: Upper end.
        count: Of how many frames, or objects, it is.
        effective_count: How many independent ones would say as much.
        clusters: How many camera-minutes they are from.
    """

    value: float
    low: float
    high: float
    count: float
    effective_count: float
    clusters: int


@dataclass(frozen=True, slots=True)
class Seconds:
    """Quantiles of a span of time in seconds, each within 1 %."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class CpuCost:
    """What servers of a model have used since they started, loading included; no result has it of its own.

    Attributes:
        cpu_seconds: User and system time of their processes.
        answers: How many images they have answered meanwhile.
    """

    cpu_seconds: float
    answers: int


@dataclass(frozen=True, slots=True)
class SideFacts:
    """One side, over the frames of the comparison.

    Attributes:
        side: Which.
        versions: How many of the compared answers each version gave.
        shadow: Whether all its answers are a shadow's.
        answered: Frames of the time and cameras that it answered.
        failed: Frames that it failed on.
        alone: Frames that it answered and the other side didn't.
        latency: From sending the frame until the answer came; none where nothing is compared.
        inference: Of that, running the model, on the whole batch.
        staleness: Age of the frame when the answer was there, of live answers; none where all were replayed.
        mean_score: Of its best label or of its objects; none where there are no scores.
        cpu: None unless somebody who can reach the servers has filled it in.
    """

    side: Side
    versions: Mapping[str, int]
    shadow: bool
    answered: int
    failed: int
    alone: int
    latency: Seconds | None
    inference: Seconds | None
    staleness: Seconds | None
    mean_score: float | None
    cpu: CpuCost | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """How alike the answers are, in one of the task's own measures.

    Attributes:
        name: Such as `precision`.
        meaning: What it says, in a few words.
        estimate: How much.
    """

    name: str
    meaning: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """One class, by its name.

    Attributes:
        label: The name.
        a: How many frames (objects, segments) A calls so.
        b: How many B calls so.
        both: How many both do.
        difference: Of A's count less B's, for each frame.
        p_adjusted: How often chance alone makes such a difference, adjusted for the number of classes.
        score_a: Mean score of A's.
        score_b: Mean score of B's.
        corrected: How many frames people say show it.
        right_a: How many of those A calls so.
        right_b: How many of those B calls so.
    """

    label: str
    a: int
    b: int
    both: int
    difference: Estimate
    p_adjusted: float
    score_a: float | None
    score_b: float | None
    corrected: int = 0
    right_a: int = 0
    right_b: int = 0


@dataclass(frozen=True, slots=True)
class CameraFacts:
    """One camera.

    Attributes:
        camera: Its name.
        frames: How many of its frames are compared.
        agreement: Share of them on which the sides agree.
        p_adjusted: How often chance alone sets it so far apart from the other cameras, adjusted for their number.
        score_difference: Mean of A's best score less B's; none where there are no scores.
    """

    camera: str
    frames: int
    agreement: Estimate
    p_adjusted: float
    score_difference: Estimate | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often A said one thing where B said another; an empty label stands for nothing at all."""

    label_a: str
    label_b: str
    count: int


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A frame on which the sides disagree, for all that do so in its camera-minute in the same way.

    Attributes:
        frame_id: Its id.
        object_key: Its key in the bucket of frames.
        camera: Who took it.
        capture_time: When, in UTC.
        a: What A says, in a line.
        b: What B says.
        score_a: A's best score; none where there are no scores.
        score_b: B's.
        likeness: How alike the answers are, from 0 to 1.
        frames: How many frames of the camera-minute it stands for.
        corrected: What people say; none where nobody did.
    """

    frame_id: str
    object_key: str
    camera: str
    capture_time: datetime
    a: str
    b: str
    score_a: float | None
    score_b: float | None
    likeness: float
    frames: int
    corrected: str | None = None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Both sides against what people say of the same frames.

    Attributes:
        frames: How many of the compared frames are corrected.
        a: Share of them on which A is right.
        b: Share on which B is.
        difference: A's share less B's, paired by frame.
        p_clusters: How often chance alone makes such a difference: McNemar's test for clustered pairs.
        only_a: Frames on which only A is right.
        only_b: Frames on which only B is.
        p_mcnemar: McNemar's exact test, as if frames were independent.
        calibration_a: Expected calibration error of A, from 0; none where there are no scores.
        calibration_b: Of B.
        overconfidence_a: Mean of A's best score less whether it was right.
        overconfidence_b: Of B.
    """

    frames: int
    a: Estimate
    b: Estimate
    difference: Estimate
    p_clusters: float
    only_a: int
    only_b: int
    p_mcnemar: float
    calibration_a: float | None
    calibration_b: float | None
    overconfidence_a: Estimate | None
    overconfidence_b: Estimate | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models over the same stored frames.

    Attributes:
        task: What both answer.
        since: First capture time asked for.
        until: Last one.
        cameras: Which cameras were asked for; none means all.
        a: One side.
        b: The other.
        pairs: Frames that both sides answered.
        compared: How many of those were compared: all, or an even sample.
        first_time: When the first of them was taken, in UTC.
        last_time: When the last of them was taken.
        agreement: Share of the compared frames on which both say the same, by the task's rule.
        rule: That rule, in words.
        measures: The task's other measures.
        classes: The classes that either named, the most different first.
        cameras_found: Each camera, the least agreeing first.
        confusion: Where the labels differ, the most frequent first.
        confusions_left_out: How many frames (objects) with other labels `confusion` leaves out.
        disagreements: Some of the frames on which they disagree, the surest first.
        disagreeing: How many frames they disagree on.
        accuracy: Against people's corrections; none where no compared frame has one.
        notes: What a reader has to know of these figures, in sentences.
    """

    task: Task
    since: datetime
    until: datetime
    cameras: Sequence[str]
    a: SideFacts
    b: SideFacts
    pairs: int
    compared: int
    first_time: datetime
    last_time: datetime
    agreement: Estimate
    rule: str
    measures: Sequence[Measure]
    classes: Sequence[ClassFacts]
    cameras_found: Sequence[CameraFacts]
    confusion: Sequence[Confusion]
    confusions_left_out: int
    disagreements: Sequence[Disagreement]
    disagreeing: int
    accuracy: Accuracy | None
    notes: Sequence[str]
