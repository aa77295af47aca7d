"""What the page Health says of each part."""

from datetime import UTC, datetime, timedelta

import pytest

from console.pages.health_view import (
    Kind,
    Part,
    Remembered,
    State,
    backlogs,
    dead_letter_count,
    lags,
    parts,
    without_gateway,
)
from framemesh.bus import streams
from framemesh.frames import timestamp
from framemesh.v1.camera_pb2 import Camera, LineState, SourceState
from framemesh.v1.frame_pb2 import Frame, StoredFrame
from framemesh.v1.model_pb2 import Model, ModelReplica, ModelSpec, ReplicaState
from framemesh.v1.service_pb2 import ServicePresence
from framemesh.v1.status_service_pb2 import CameraStatus, GetStatusResponse, ModelStatus, StreamStatus, TableStatus

NOW = datetime(2026, 9, 21, 14, tzinfo=UTC)
STARTED = timestamp(int((NOW - timedelta(hours=1)).timestamp()) * 10**9)


def status(*services: str, **others: object) -> GetStatusResponse:
    heard = [ServicePresence(service=service, instance=f"{service}-1", start_time=STARTED) for service in services]
    return GetStatusResponse(bus_answers=True, lake_answers=True, services=heard, **others)  # type: ignore[arg-type]


def by_kind(found: list[Part]) -> dict[Kind, Part]:
    return {part.kind: part for part in found}


def test_a_mesh_that_is_well_has_no_advice_and_says_since_when_its_services_are_up() -> None:
    found = parts(status("gateway", "archiver", "deployer"), [])
    assert [part.kind for part in found] == [Kind.GATEWAY, Kind.NATS, Kind.LAKE, Kind.ARCHIVER, Kind.DEPLOYER]
    assert {part.state for part in found} == {State.UP}
    assert not any(part.advice for part in found)
    assert by_kind(found)[Kind.ARCHIVER].since == NOW - timedelta(hours=1)


def test_a_service_that_is_not_heard_is_missed_unless_nats_is_away_too() -> None:
    found = by_kind(parts(status("gateway", "archiver"), []))
    assert found[Kind.DEPLOYER].state is State.DOWN
    assert "python -m deployer" in found[Kind.DEPLOYER].advice
    deaf = status("gateway")
    deaf.bus_answers = False
    found = by_kind(parts(deaf, []))
    assert (found[Kind.NATS].state, found[Kind.DEPLOYER].state) == (State.DOWN, State.UNKNOWN)


def test_where_the_gateway_is_away_that_is_said_and_what_only_it_knows_is_unknown() -> None:
    found = by_kind(without_gateway("connection refused", None))
    assert found[Kind.GATEWAY].state is State.DOWN
    assert found[Kind.GATEWAY].details == "connection refused"
    assert found[Kind.NATS].state is State.UP
    assert found[Kind.LAKE].state is State.UNKNOWN
    assert by_kind(without_gateway("connection refused", "not connected"))[Kind.NATS].advice


def test_model_servers_and_cameras_are_parts_each() -> None:
    replica = ModelReplica(model="vit", replica="0", state=ReplicaState.REPLICA_STATE_UNHEALTHY, start_time=STARTED)
    models = [
        ModelStatus(model=Model(spec=ModelSpec(name="vit", replicas=1), replicas=[replica])),
        ModelStatus(model=Model(spec=ModelSpec(name="coming", replicas=1))),
        ModelStatus(model=Model(spec=ModelSpec(name="paused", replicas=0))),
    ]
    cameras = [
        Camera(name="lost", source_state=SourceState.SOURCE_STATE_LOST, last_error="no route", start_time=STARTED),
        Camera(
            name="kept", source_state=SourceState.SOURCE_STATE_CAPTURING, line_state=LineState.LINE_STATE_SPILLING,
            last_error="long over", start_time=STARTED,
        ),
        Camera(
            name="well", source_state=SourceState.SOURCE_STATE_CAPTURING, line_state=LineState.LINE_STATE_SENDING,
            last_error="long over", start_time=STARTED,
        ),
    ]  # fmt: skip
    found = {part.name: part for part in parts(status("gateway", models=models), cameras)}
    assert found["vit 0"].state is State.DOWN
    assert found["coming"].state is State.STARTING
    assert "paused" not in found
    assert (found["lost"].state, found["lost"].details) == (State.DOWN, "no route")
    assert (found["kept"].state, bool(found["kept"].advice)) == (State.TROUBLED, True)
    assert (found["well"].state, found["well"].details, found["well"].advice) == (State.UP, "", "")


def test_it_is_remembered_since_when_a_part_is_as_it_is() -> None:
    remembered = Remembered()
    minute = timedelta(minutes=1)
    up, down = Part(Kind.NATS, "", State.UP, "Up"), Part(Kind.NATS, "", State.DOWN, "Does not answer")
    assert [part.since for part in remembered.add([up], NOW)] == [None]  # who knows
    assert [part.since for part in remembered.add([down], NOW + minute)] == [NOW + minute]
    assert [part.since for part in remembered.add([down], NOW + 2 * minute)] == [NOW + minute]
    assert [part.since for part in remembered.add([up], NOW + 3 * minute)] == [NOW + 3 * minute]


def test_a_part_that_was_not_known_for_a_while_is_as_it_is_since_before() -> None:
    remembered = Remembered()
    minute = timedelta(minutes=1)
    up, down = Part(Kind.LAKE, "", State.UP, "Up"), Part(Kind.LAKE, "", State.DOWN, "Does not answer")
    remembered.add([down], NOW)
    remembered.add([up], NOW + minute)
    away = by_kind(remembered.add(without_gateway("connection refused", None), NOW + 2 * minute, whole=False))
    assert (away[Kind.LAKE].state, away[Kind.LAKE].since) == (State.UNKNOWN, None)
    assert [part.since for part in remembered.add([up], NOW + 3 * minute)] == [NOW + minute]
    remembered.add(without_gateway("connection refused", None), NOW + 4 * minute, whole=False)
    assert [part.since for part in remembered.add([down], NOW + 5 * minute)] == [NOW + 5 * minute]


def test_a_service_that_has_gone_is_shown_for_a_while_and_is_forgotten_once_it_is_back() -> None:
    remembered = Remembered()
    one = Part(Kind.GATEWAY, "a-1", State.UP, "Up", NOW)
    other = Part(Kind.GATEWAY, "a-2", State.UP, "Up", NOW)
    remembered.add([one, other], NOW)
    later = NOW + timedelta(minutes=1)
    assert [(part.name, part.words, part.since) for part in remembered.add([one], later)] == [
        ("a-1", "Up", NOW),
        ("a-2", "Gone", later),
    ]
    assert [part.words for part in remembered.add([one, other], later)] == ["Up", "Up"]
    remembered.add([one], later)
    assert [part.name for part in remembered.add([one], later + timedelta(hours=1))] == ["a-1"]


def test_while_only_a_part_of_the_mesh_is_known_nothing_is_taken_for_gone() -> None:
    remembered = Remembered()
    up = Part(Kind.ARCHIVER, "a-1", State.UP, "Up", NOW)
    later = NOW + timedelta(minutes=1)
    remembered.add([up], NOW)
    away = without_gateway("connection refused", None)
    assert {part.words for part in remembered.add(away, later, whole=False)} == {"Does not answer", "Up", "Not known"}
    assert [part.words for part in remembered.add([up], later)] == ["Up"]


def test_streams_tell_how_full_they_are_and_only_a_full_stream_of_frames_is_a_trouble() -> None:
    full = [
        StreamStatus(name=name, message_count=3, size_bytes=90, limit_bytes=100) for name in ("FRAMES", "DEADLETTERS")
    ]
    found = status(streams=full)
    assert [(one.share, one.nearly_full) for one in backlogs(found)] == [(0.9, True), (0.9, False)]
    assert dead_letter_count(found) == 3
    assert dead_letter_count(status()) == 0


@pytest.mark.parametrize("name", sorted({streams.FRAMES, *streams.KEPT} - {streams.EVENTS}))
def test_every_stream_says_what_is_in_it(name: str) -> None:
    (found,) = backlogs(status(streams=[StreamStatus(name=name)]))
    assert found.meaning


def test_cameras_models_and_tables_tell_how_far_they_are_behind() -> None:
    newest = StoredFrame(frame=Frame(capture_time=STARTED))
    found = lags(
        status(
            cameras=[
                CameraStatus(camera="gate", waiting_frame_count=4, newest_frame=newest),
                CameraStatus(camera="new"),
            ],
            models=[ModelStatus(model=Model(spec=ModelSpec(name="vit")), waiting_frame_count=7)],
            tables=[TableStatus(name="frames", waiting_message_count=9, waiting_since_time=STARTED)],
        )
    )
    assert [(lag.name, lag.waiting, lag.time is not None) for lag in found] == [
        ("gate", 4, True),
        ("new", 0, False),
        ("vit", 7, False),
        ("frames", 9, True),
    ]
