from datetime import UTC, datetime

import pytest

from framemesh.errors import InvalidNameError
from framemesh.frames import (
    CAPTURED_AT,
    MESSAGE_ID,
    SEQUENCE,
    FrameId,
    arrival,
    frame_id_of,
    headers,
    hour_prefix,
    object_key,
)

NEW_YEAR_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
ACCEPTED = datetime(2026, 1, 1, 0, 0, 1, 234567, UTC)


def test_an_id_reads_back_as_it_was_written() -> None:
    frame_id = FrameId("north-gate-2", NEW_YEAR_NS + 1)
    assert str(frame_id) == "north-gate-2-1767225600000000001"
    assert FrameId.parse(str(frame_id)) == frame_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gate",
        "gate-",
        "-1767225600000000000",
        "gate-17",
        "gate-0",
        "gate-1e18",
        "gate-" + 20 * "9",
        "gate-+1",
    ],
)
def test_what_is_no_id_is_told_apart(text: str) -> None:
    assert FrameId.parse(text) is None


def test_the_key_has_the_hour_of_capture_in_utc() -> None:
    frame_id = FrameId("gate", NEW_YEAR_NS - 1)
    assert object_key(frame_id, "image/jpeg") == "gate/2025/12/31/23/gate-1767225599999999999.jpg"
    assert hour_prefix(FrameId("gate", NEW_YEAR_NS)) == "gate/2026/01/01/00/"
    assert frame_id_of(object_key(frame_id, "image/png")) == frame_id


def test_our_own_headers_give_the_frame_its_identity() -> None:
    frame_id = FrameId("gate", NEW_YEAR_NS + 123_456_789)
    fields = headers(frame_id, content_type="image/jpeg", width_px=1280, height_px=720, sequence=7)
    assert fields[CAPTURED_AT] == "2026-01-01T00:00:00.123456789Z"
    found = arrival("frames.gate", fields, stream_time=ACCEPTED, stream_sequence=3)
    assert found.frame_id == frame_id
    assert found.capture_time.ToNanoseconds() == frame_id.captured_ns
    assert found.camera_sequence == 7


def test_a_bare_frame_is_named_by_the_stream() -> None:
    found = arrival("frames.gate", {}, stream_time=ACCEPTED, stream_sequence=12_345)
    assert str(found.frame_id) == "gate-1767225601234567345"
    assert found.capture_time.ToNanoseconds() == NEW_YEAR_NS + 1_234_567_000
    assert found.camera_sequence is None


def test_two_bare_frames_of_one_microsecond_stay_two() -> None:
    names = {arrival("frames.gate", {}, stream_time=ACCEPTED, stream_sequence=n).frame_id for n in range(1, 1001)}
    assert len(names) == 1000


@pytest.mark.parametrize("foreign", ["1", "door-1767225600000000000", "gate-1", "gate-x"])
def test_a_foreign_message_id_does_not_name_the_frame(foreign: str) -> None:
    found = arrival("frames.gate", {MESSAGE_ID: foreign}, stream_time=ACCEPTED, stream_sequence=1)
    assert found.frame_id.captured_ns // 1_000_000_000 == NEW_YEAR_NS // 1_000_000_000 + 1


def test_a_capture_time_without_an_id_is_kept_but_names_nothing() -> None:
    fields = {CAPTURED_AT: "2026-01-01T00:00:00Z"}
    first = arrival("frames.gate", fields, stream_time=ACCEPTED, stream_sequence=1)
    second = arrival("frames.gate", fields, stream_time=ACCEPTED, stream_sequence=2)
    assert first.capture_time.ToNanoseconds() == NEW_YEAR_NS
    assert first.frame_id != second.frame_id  # a camera with a stopped clock loses no frame


@pytest.mark.parametrize("nonsense", ["yesterday", "", "2026-13-01T00:00:00Z"])
def test_nonsense_in_headers_is_passed_over(nonsense: str) -> None:
    fields = {CAPTURED_AT: nonsense, SEQUENCE: nonsense}
    found = arrival("frames.gate", fields, stream_time=ACCEPTED, stream_sequence=1)
    assert found.capture_time.ToNanoseconds() == NEW_YEAR_NS + 1_234_567_000
    assert found.camera_sequence is None


@pytest.mark.parametrize(
    "key",
    [
        "gate-1767225600000000000.jpg",
        "gate/2026/01/01/01/gate-1767225600000000000.jpg",
        "../frames/gate/2026/01/01/00/gate-1767225600000000000.jpg",
        "gate/2026/01/01/00/../00/gate-1767225600000000000.jpg",
        "gate/2026/01/01/00/gate-1767225600000000000.exe",
        "gate/2026/01/01/00/",
        "",
    ],
)
def test_what_is_no_key_of_a_frame_is_told_apart(key: str) -> None:
    assert frame_id_of(key) is None


@pytest.mark.parametrize("camera", ["Gate", "a_b", "-a", "a-", "x" * 64, "a/b", "ä"])
def test_a_subject_that_names_no_camera_is_refused(camera: str) -> None:
    with pytest.raises(InvalidNameError, match="a-z"):
        arrival(f"frames.{camera}", {}, stream_time=ACCEPTED, stream_sequence=1)
