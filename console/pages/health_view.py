"""What the page Health says of each part of the mesh. Pure: the time is an argument."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from google.protobuf.timestamp_pb2 import Timestamp

from console.texts import marked
from framemesh.bus import streams
from framemesh.deploying import FAILED
from framemesh.v1.camera_pb2 import Camera, LineState, SourceState
from framemesh.v1.model_pb2 import ReplicaState
from framemesh.v1.status_service_pb2 import CameraStatus, GetStatusResponse, TableStatus
from framemesh.words import printable

_GONE_SHOWN = timedelta(minutes=30)
_NEARLY_FULL = 0.8


class Kind(StrEnum):
    """The kinds of parts, in the order in which they are shown; the value is what they are called; ours."""

    GATEWAY = marked("Gateway")
    NATS = marked("NATS")
    LAKE = marked("Lake (S3)")
    ARCHIVER = marked("Archiver")
    DEPLOYER = marked("Deployer")
    MODEL = marked("Model server")
    CAMERA = marked("Camera")


_SERVICES = {"gateway": Kind.GATEWAY, "archiver": Kind.ARCHIVER, "deployer": Kind.DEPLOYER}
_MISSING = {
    Kind.ARCHIVER: marked("The lake's tables don't grow. Start one: python -m archiver"),
    Kind.DEPLOYER: marked("Models don't come or go. Start one: python -m deployer"),
}


class State(StrEnum):
    """How a part is; the value is how it looks."""

    UP = "good"
    STARTING = "busy"
    TROUBLED = "warn"
    DOWN = "bad"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the mesh.

    Attributes:
        kind: What it is.
        name: Which of its kind; empty where there is but one.
        state: How it is.
        words: Its state in a word or two; ours.
        since: Since when, in UTC; none where that isn't known.
        details: More about it, as the mesh says it; empty where there is nothing.
        advice: What to do; ours; empty where there is nothing.
    """

    kind: Kind
    name: str
    state: State
    words: str
    since: datetime | None = None
    details: str = ""
    advice: str = ""

    @property
    def key(self) -> tuple[Kind, str]:
        """What tells it from the others."""
        return self.kind, self.name


def without_gateway(problem: str, bus_problem: str | None) -> list[Part]:
    """What is known where the gateway does not answer.

    Args:
        problem: How calling it fails.
        bus_problem: What is wrong with the console's own connection to NATS; none where nothing is.
    """
    gateway = Part(
        Kind.GATEWAY, "", State.DOWN, marked("Does not answer"), details=printable(problem),
        advice=marked("It is asked again by itself. Cameras go on: their frames wait in NATS."),
    )  # fmt: skip
    nats = _answering(Kind.NATS, answers=bus_problem is None)
    if bus_problem is not None:
        words = marked("Nothing is stored or answered until it does. Cameras keep their frames on disk meanwhile.")
        nats = replace(nats, advice=words)
    unknown = [Part(kind, "", State.UNKNOWN, marked("Not known")) for kind in (Kind.LAKE, Kind.ARCHIVER, Kind.DEPLOYER)]
    return [gateway, nats, *unknown]


def parts(found: GetStatusResponse, cameras: list[Camera]) -> list[Part]:
    """Every part that the mesh tells of, and those that it lacks.

    What is wrong with NATS, the lake and models the status says in words already, so they have no advice here.
    """
    made = [_answering(Kind.NATS, answers=found.bus_answers), _answering(Kind.LAKE, answers=found.lake_answers)]
    made.extend(
        Part(_SERVICES[service.service], service.instance, State.UP, marked("Up"), _time(service.start_time))
        for service in found.services
        if service.service in _SERVICES
    )
    if not any(part.kind is Kind.GATEWAY for part in made):  # one that started this moment hears itself in 2 s
        made.append(Part(Kind.GATEWAY, "", State.UP, marked("Up")))
    there = {part.kind for part in made}
    for kind, advice in _MISSING.items():
        if kind not in there:
            state, words = (
                (State.DOWN, marked("Not heard")) if found.bus_answers else (State.UNKNOWN, marked("Not known"))
            )
            made.append(Part(kind, "", state, words, advice=advice if found.bus_answers else ""))
    made.extend(_model_servers(found))
    made.extend(_camera(camera) for camera in cameras)
    order = list(Kind)
    return sorted(made, key=lambda part: (order.index(part.kind), part.name))


def _answering(kind: Kind, *, answers: bool) -> Part:
    if answers:
        return Part(kind, "", State.UP, marked("Up"))
    return Part(kind, "", State.DOWN, marked("Does not answer"))


_REPLICAS = {
    ReplicaState.REPLICA_STATE_PREPARING: (State.STARTING, marked("Preparing")),
    ReplicaState.REPLICA_STATE_LOADING: (State.STARTING, marked("Loading")),
    ReplicaState.REPLICA_STATE_SERVING: (State.UP, marked("Serving")),
    ReplicaState.REPLICA_STATE_DRAINING: (State.STARTING, marked("Ending")),
    ReplicaState.REPLICA_STATE_UNHEALTHY: (State.DOWN, marked("Hangs or fails")),
}


def _model_servers(found: GetStatusResponse) -> Iterator[Part]:
    for each in found.models:
        model = each.model
        for replica in model.replicas:
            state, words = _REPLICAS.get(replica.state, (State.UNKNOWN, marked("Not known")))
            yield Part(
                Kind.MODEL, f"{replica.model} {replica.replica}", state, words,
                _time(replica.start_time) if replica.HasField("start_time") else None,
            )  # fmt: skip
        if model.spec.replicas and not model.replicas:
            failed = model.status.phase in FAILED
            state, words = (State.DOWN, marked("No server")) if failed else (State.STARTING, marked("On its way"))
            yield Part(Kind.MODEL, model.spec.name, state, words)


_SOURCES = {
    SourceState.SOURCE_STATE_STARTING: (State.STARTING, marked("Starting")),
    SourceState.SOURCE_STATE_CAPTURING: (State.UP, marked("Captures")),
    SourceState.SOURCE_STATE_STALLED: (State.DOWN, marked("Gives nothing")),
    SourceState.SOURCE_STATE_LOST: (State.DOWN, marked("Lost")),
}


def _camera(camera: Camera) -> Part:
    state, words = _SOURCES.get(camera.source_state, (State.UNKNOWN, marked("Not known")))
    advice = ""
    if state is State.UP and camera.line_state == LineState.LINE_STATE_SPILLING:
        state, words = State.TROUBLED, marked("Keeps frames on disk")
        advice = marked("NATS is away, full or slow; they are sent once it takes them.")
    elif state is State.UP and camera.line_state == LineState.LINE_STATE_REFUSED:
        state, words = State.DOWN, marked("Refused by NATS")
        advice = marked("NATS does not let its user publish this camera's frames: permit it there.")
    well = state in {State.UP, State.STARTING}
    return Part(
        Kind.CAMERA, camera.name, state, words, _time(camera.start_time),
        details="" if well else printable(camera.last_error), advice=advice,
    )  # fmt: skip


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)


@dataclass(slots=True)
class Remembered:
    """How the parts were before: so that it can be said since when one is as it is, and which has gone."""

    _parts: dict[tuple[Kind, str], Part] = field(default_factory=dict)
    _gone: dict[tuple[Kind, str], Part] = field(default_factory=dict)

    def add(self, parts: list[Part], now: datetime, *, whole: bool = True) -> list[Part]:
        """The parts now, each with since when it is so as far as anybody has looked; those that have gone too.

        Args:
            parts: How they are.
            now: When that is.
            whole: Whether these are all there are; else what isn't among them may still be there.
        """
        seen = {part.key: self._since(part, now) for part in parts}
        if not whole:  # what is not known may well be as it was: that is kept
            self._parts |= {key: part for key, part in seen.items() if part.state is not State.UNKNOWN}
            return list(seen.values())
        for key, before in self._parts.items():
            if key not in seen and before.name and before.kind in _SERVICES.values():
                self._gone[key] = replace(before, state=State.UNKNOWN, words=marked("Gone"), since=now)
        self._gone = {
            key: part
            for key, part in self._gone.items()
            if key not in seen and part.since is not None and now - part.since < _GONE_SHOWN
        }
        self._parts = seen
        order = list(Kind)
        return sorted([*seen.values(), *self._gone.values()], key=lambda part: (order.index(part.kind), part.name))

    def _since(self, part: Part, now: datetime) -> Part:
        if part.state is State.UNKNOWN:
            return part
        before = self._parts.get(part.key)
        if before is not None and (before.state, before.words) == (part.state, part.words):
            return replace(part, since=part.since or before.since)
        if before is None or (part.since is not None and part.state is State.UP):
            return part
        return replace(part, since=now)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a stream holds, against what it may.

    Attributes:
        name: The stream's, in NATS.
        meaning: What is in it; ours.
        messages: How many there are.
        size_bytes: What they take.
        limit_bytes: What they may take.
        share: Of that, from 0 to 1.
        oldest: When the oldest came; none where there is none.
        nearly_full: Whether somebody should do something.
    """

    name: str
    meaning: str
    messages: int
    size_bytes: int
    limit_bytes: int
    share: float
    oldest: datetime | None
    nearly_full: bool


_MEANINGS = {
    streams.FRAMES: marked("Frames that wait to be stored; full, it refuses cameras"),
    streams.STORED: marked("References to stored frames; full, the oldest go"),
    streams.RESULTS: marked("Results; full, the oldest go"),
    streams.SHADOWS: marked("Answers of shadows; full, the oldest go"),
    streams.CORRECTIONS: marked("What people said of frames; full, the oldest go"),
    streams.DEADLETTERS: marked("What could not be processed; full, the oldest go"),
}


def backlogs(found: GetStatusResponse) -> list[Backlog]:
    """Every stream."""
    made = []
    for stream in found.streams:
        share = stream.size_bytes / stream.limit_bytes if stream.limit_bytes > 0 else 0.0
        made.append(
            Backlog(
                name=stream.name,
                meaning=_MEANINGS.get(stream.name, ""),
                messages=stream.message_count,
                size_bytes=stream.size_bytes,
                limit_bytes=stream.limit_bytes,
                share=min(1.0, share),
                oldest=_time(stream.oldest_time) if stream.HasField("oldest_time") else None,
                nearly_full=share > _NEARLY_FULL and stream.name == streams.FRAMES,
            )
        )
    return made


def dead_letter_count(found: GetStatusResponse) -> int:
    """How many messages could not be processed."""
    return next((stream.message_count for stream in found.streams if stream.name == streams.DEADLETTERS), 0)


@dataclass(frozen=True, slots=True)
class Lag:
    """How far something is behind.

    Attributes:
        name: Of the camera, model or table.
        what: What waits there; ours.
        waiting: How many do.
        time: When the newest frame was taken, or since when the oldest message waits; none where that isn't known.
        meaning: Which of the two, with a place for the span since then; ours.
    """

    name: str
    what: str
    waiting: int
    time: datetime | None = None
    meaning: str = ""


def lags(found: GetStatusResponse) -> list[Lag]:
    """How far storing, each model and each table are behind."""
    return [
        *(_camera_lag(camera) for camera in found.cameras),
        *(
            Lag(each.model.spec.name, marked("Model: frames to be answered"), each.waiting_frame_count)
            for each in found.models
        ),
        *(_table_lag(table) for table in found.tables),
    ]


def _camera_lag(camera: CameraStatus) -> Lag:
    taken = _time(camera.newest_frame.frame.capture_time) if camera.HasField("newest_frame") else None
    what, meaning = marked("Camera: frames to be stored"), marked("newest {span} ago")
    return Lag(printable(camera.camera), what, camera.waiting_frame_count, taken, meaning)


def _table_lag(table: TableStatus) -> Lag:
    since = _time(table.waiting_since_time) if table.HasField("waiting_since_time") else None
    what, meaning = marked("Table: rows to be written"), marked("for {span}")
    return Lag(printable(table.name), what, table.waiting_message_count, since, meaning)
