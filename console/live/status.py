"""How cameras are, in few words: what was seen of them here, and what their agents tell the gateway. Pure."""

from dataclasses import dataclass
from typing import Any

from framemesh.v1.camera_pb2 import Camera, LineState, SourceState

_AWAY_SECONDS = 3.0
_BEATS = 3.0
_STATES = {
    SourceState.SOURCE_STATE_STARTING: "starting",
    SourceState.SOURCE_STATE_STALLED: "stalled",
    SourceState.SOURCE_STATE_LOST: "lost",
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What was seen of a camera here: frames a second, and how long ago the newest came; none where none has."""

    fps: float
    silent_seconds: float | None


def status(name: str, heard: Heard, told: Camera | None) -> dict[str, Any]:
    """One camera, for its place on the page.

    Its `state` is `live`, `away`, `starting`, `stalled`, `lost`, `refused` or `waiting` (its frames wait at its agent);
    `words` are what its agent says of that.
    """
    state = _state(heard, told)
    words = told.last_error if told is not None and state not in {"live", "starting"} else ""
    silent = heard.silent_seconds
    return {
        "camera": name,
        "fps": round(heard.fps, 1),
        "silent_ms": None if silent is None else round(1000 * silent),
        "state": state,
        "words": words,
    }


def _state(heard: Heard, told: Camera | None) -> str:
    if told is not None and told.line_state == LineState.LINE_STATE_REFUSED:
        return "refused"
    patience = max(_AWAY_SECONDS, _BEATS / heard.fps if heard.fps else 0.0)
    if heard.silent_seconds is not None and heard.silent_seconds < patience:
        return "live"
    if told is None:
        return "away"
    if told.line_state == LineState.LINE_STATE_SPILLING:
        return "waiting"
    return _STATES.get(told.source_state, "starting" if heard.silent_seconds is None else "away")
