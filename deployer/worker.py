"""The program that prepares models (`python -m model_server.building`), as whoever starts it sees it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from framemesh.errors import ConfigurationError, FramemeshError, InternalError
from framemesh.exits import KILLED, reported
from framemesh.specs import precision_text, runtime_of, runtime_text
from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from framemesh.v1.model_pb2 import ModelSpec, Release

PROGRAM = "model_server.building"

_PHASES = {
    "downloading": Phase.DEPLOYMENT_PHASE_DOWNLOADING,
    "exporting": Phase.DEPLOYMENT_PHASE_EXPORTING,
    "uploading": Phase.DEPLOYMENT_PHASE_UPLOADING,
}


def arguments(spec: ModelSpec, *, cache: str, upload: str = "", stand_in: str = "") -> tuple[str, ...]:
    """What the program is told, so that it puts the model into the lake under the spec's name.

    Args:
        spec: A complete spec.
        cache: The folder where it works, and leaves what it made.
        upload: Where to put it in the lake; empty means under a version of its weights and form.
        stand_in: The folder for what torch can run while the model is exported; empty means that nobody wants it.
    """
    return (
        "--cache", cache,
        f"--revision={spec.revision}",
        "--runtime", runtime_text(spec.runtime),
        "--precision", precision_text(spec.precision),
        f"--task={spec.task}",
        *(("--upload", upload) if upload else ("--publish", spec.name)),
        *(("--stand-in", stand_in) if stand_in else ()),
        "--", spec.source,
    )  # fmt: skip


def is_worker(program: str, arguments: Sequence[str]) -> bool:
    """Whether that is a worker of a deployer's, rather than one of a server that fetches its own model."""
    return program == PROGRAM and "--publish" in arguments


@dataclass(frozen=True, slots=True)
class Step:
    """What the program does now, and how much of it is done, from 0 to 1."""

    phase: Phase.ValueType
    progress: float


def read_step(line: bytes) -> Step | None:
    """The step in a line of the program's standard output; none in its last one, or in what others wrote."""
    said = _read(line)
    phase = _PHASES.get(str(said.get("step")))
    return None if phase is None else Step(phase, float(said.get("share", 0.0)))


def has_stand_in(line: bytes) -> bool:
    """Whether a line of the program's standard output says that the stand-in is there."""
    return _read(line).get("step") == "standing_in"


def read_release(spec: ModelSpec, line: bytes) -> Release | None:
    """What the program made of the spec, from its last line; none in any other, or where it made nothing."""
    said = _read(line)
    if "source" not in said:
        return None
    runtime = runtime_of(said["runtime"])
    return Release(spec=spec, source=said["source"], model_version=said["version"], runtime=runtime)


def outcome(spec: ModelSpec, code: int, last_line: bytes) -> Release:
    """What the program made of the spec.

    Args:
        spec: What it was told.
        code: Its exit code; negative where a signal ended it.
        last_line: Of its standard output.

    Raises:
        ConfigurationError: The model can't be served so; the message says why and what to do.
        FramemeshError: Not now; trying again may help.
    """
    release = read_release(spec, last_line)
    if code == 0 and release is not None:
        return release
    raise _error(code, str(_read(last_line).get("error", "")))


def _error(code: int, told: str) -> FramemeshError:
    if (error := reported(code, told)) is not None:
        return error
    if code == KILLED:
        return ConfigurationError(
            "out of memory, most likely: the process that prepared the model was killed; prepare it on a machine "
            "that has more, with `framemesh export MODEL --upload lake://models/NAME/VERSION`"
        )
    return InternalError(f"preparing the model ended with {code}; its log has the reason")


def _read(line: bytes) -> dict[str, str]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
