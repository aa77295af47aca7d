"""The program that trains (`python -m trainer`), as whoever starts it sees it. Pure."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from google.protobuf.json_format import ParseDict

from framemesh.errors import ConfigurationError, FramemeshError, InternalError, ModelUnavailableError
from framemesh.exits import KILLED, reported
from framemesh.v1.training_pb2 import TrainingPhase as Phase
from framemesh.v1.training_pb2 import TrainingResult, TrainingScores, TrainingStatus

PROGRAM = "trainer"

_PHASES = {
    "reading": Phase.TRAINING_PHASE_READING,
    "dataset": Phase.TRAINING_PHASE_READING,
    "run": Phase.TRAINING_PHASE_READING,
    "resuming": Phase.TRAINING_PHASE_TRAINING,
    "before": Phase.TRAINING_PHASE_TRAINING,
    "training": Phase.TRAINING_PHASE_TRAINING,
    "epoch": Phase.TRAINING_PHASE_TRAINING,
    "testing": Phase.TRAINING_PHASE_TESTING,
    "uploading": Phase.TRAINING_PHASE_EXPORTING,
    "found": Phase.TRAINING_PHASE_EXPORTING,
    "exporting": Phase.TRAINING_PHASE_EXPORTING,
}


def name_of(told: Sequence[str]) -> str:
    """The name of the training of which the program was told; empty where it was told none."""
    return next((value for option, value in pairwise(told) if option == "--name"), "")


def note(status: TrainingStatus, lines: Iterable[str]) -> None:
    """Note in a status what the program says, line by line; lines that it has noted already change nothing."""
    for said in map(_read, lines):
        step = str(said.get("step"))
        if step not in _PHASES:
            continue
        status.phase = _PHASES[step]
        status.progress = float(said.get("share", 0.0))
        match step:
            case "run":
                status.run = said["run"]
            case "epoch":
                status.epoch, status.epoch_count = said["epoch"], said["epochs"]
                status.progress = said["epoch"] / said["epochs"]
                if said["loss"] is not None:
                    status.loss = said["loss"]
        if "validation" in said:
            status.validation.clear()
            status.validation.update(said["validation"])


def read_result(lines: Iterable[str]) -> TrainingResult | None:
    """What the program has made, from what it said last; none where it said anything else."""
    said = _last(lines)
    if said.get("step") != "done":
        return None
    scores = ParseDict(said["scores"], TrainingScores(), ignore_unknown_fields=True)
    return TrainingResult(source=said["source"], weights=said["weights"], scores=scores)


def failure(code: int, lines: Iterable[str]) -> FramemeshError:
    """Why the program has made nothing.

    Args:
        code: What it ended with; negative where a signal ended it.
        lines: What it said.
    """
    said = _last(lines)
    if said.get("step") == "interrupted":
        return ModelUnavailableError("somebody stopped the training's process; it goes on from its checkpoint")
    if (error := reported(code, str(said.get("error", "")))) is not None:
        return error
    if code == KILLED:
        return ConfigurationError(
            "out of memory, most likely: its process was killed; choose a smaller batch size, or start the same "
            "again to go on from its last checkpoint"
        )
    return InternalError(f"training ended with {code}; its log has the reason")


def _last(lines: Iterable[str]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for line in lines:
        said = _read(line) or said
    return said


def _read(line: str) -> dict[str, Any]:
    """What a line of the program's says; nothing of one that others wrote."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and "step" in said else {}
