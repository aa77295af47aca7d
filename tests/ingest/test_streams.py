"""RTSP, against a real server in a process of its own."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from framemesh.errors import ConfigurationError, InvalidImageError, SourceUnavailableError
from ingest.pictures import JPEG, Picture
from ingest.settings import CameraSettings
from ingest.shaping import Shaper
from ingest.shots import Shot, Source, Stalled
from ingest.sources import open_source
from tests.ingest.media import GREYS, grey_of
from tests.ingest.rtsp import CLOCK_AHEAD_SECONDS, PASSWORD, USER, RtspServer, rtsp_server

STREAMS = (
    "h264=h264:64x48@25", "hevc=hevc:64x48@25", "mjpeg=mjpeg:64x48@25",
    "changing=h264:64x48,96x64@25", "torn=h264:64x48@25!",
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    with rtsp_server(*STREAMS) as running:
        yield running


def camera(server: RtspServer, stream: str, **others: object) -> CameraSettings:
    login = {"username": USER, "password": PASSWORD}
    return CameraSettings.model_validate({"name": "gate", "source": server.url(stream), **login, **others})


def shots(camera: CameraSettings, count: int) -> list[Shot]:
    """So many of a camera's shots, one after the other."""
    source = open_source(camera)
    try:
        return [next_of(source) for _ in range(count)]
    finally:
        source.close()


def next_of(source: Source) -> Shot:
    shot = source.read()
    assert shot is not None
    return shot


def read_all(source: Source) -> None:
    for _ in range(1000):
        source.read()


def pictures(camera: CameraSettings, count: int) -> list[Picture]:
    shaper = Shaper(camera)
    made = [shaper.shape(shot) for shot in shots(camera, count)]
    assert None not in made
    return [picture for picture in made if picture is not None]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "mjpeg"])
def test_every_frame_comes_once_and_in_order(server: RtspServer, codec: str, transport: str) -> None:
    shown = [grey_of(picture.body) for picture in pictures(camera(server, codec, transport=transport), 20)]
    first = GREYS.index(shown[0])
    assert shown == [GREYS[(first + number) % len(GREYS)] for number in range(20)]


def test_mjpeg_passes_without_being_encoded_anew(server: RtspServer) -> None:
    gate = camera(server, "mjpeg")
    (shot,) = shots(gate, 1)
    assert isinstance(shot.content, Picture)
    assert shot.content.content_type == JPEG
    assert Shaper(gate).shape(shot) is shot.content


def test_a_stream_may_change_its_size_on_the_way(server: RtspServer) -> None:
    sizes = [(picture.size.width_px, picture.size.height_px) for picture in pictures(camera(server, "changing"), 20)]
    assert set(sizes) == {(64, 48), (96, 64)}


def test_a_picture_that_was_damaged_on_the_way_is_told_and_others_follow(server: RtspServer) -> None:
    source = open_source(camera(server, "torn"))
    shaper, damaged, shown = Shaper(camera(server, "torn")), 0, []
    for _ in range(24):
        try:
            picture = shaper.shape(next_of(source))
        except InvalidImageError:
            damaged += 1
        else:
            assert picture is not None
            shown.append(grey_of(picture.body))
    source.close()
    assert damaged >= 4
    assert shown.count(GREYS[0]) == 3  # every key frame


def test_of_key_frames_alone_there_is_one_in_eight(server: RtspServer) -> None:
    made = pictures(camera(server, "h264", key_frames_only=True), 4)
    assert {grey_of(picture.body) for picture in made} == {GREYS[0]}


def test_the_cameras_own_clock_is_told(server: RtspServer) -> None:
    times = [shot.captured_ns for shot in shots(camera(server, "mjpeg"), 10)]
    known = [time for time in times if time is not None]
    assert len(known) == 10
    assert all(later - earlier == pytest.approx(40e6, abs=1e6) for earlier, later in pairwise(known))


def test_the_cameras_clock_is_far_from_ours_by_what_it_claims(server: RtspServer) -> None:
    source = open_source(camera(server, "mjpeg"))
    try:
        ahead = (next_of(source).captured_ns or 0) / 1e9 - time.time()
    finally:
        source.close()
    assert ahead == pytest.approx(CLOCK_AHEAD_SECONDS, abs=60)


@pytest.mark.parametrize(
    ("login", "words"),
    [({"username": USER, "password": "wrong"}, "refuses the login"), ({"username": None, "password": None}, "login")],
)
def test_who_is_not_let_in_is_told_so(server: RtspServer, login: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        open_source(camera(server, "h264", **login))
    assert "wrong" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_path_that_is_not_there_is_told(server: RtspServer) -> None:
    with pytest.raises(ConfigurationError, match="nothing at this path"):
        open_source(camera(server, "nothing"))


def test_no_error_shows_the_password(server: RtspServer) -> None:
    for source in (
        server.url("nothing"),
        "rtsp://127.0.0.1:1/x",
        "udp://127.0.0.1:1?timeout=100000",
        "srt://127.0.0.1:1",
    ):
        with pytest.raises((ConfigurationError, SourceUnavailableError)) as caught:
            open_source(camera(server, "h264", source=source, stall_seconds=1))
        assert PASSWORD not in repr(caught.value)
        assert "p%40ss" not in repr(caught.value)


def test_where_nothing_listens_and_who_is_unknown_is_told(server: RtspServer) -> None:
    with pytest.raises(SourceUnavailableError, match="nothing listens there"):
        open_source(camera(server, "h264", source="rtsp://127.0.0.1:1/x"))
    with pytest.raises(SourceUnavailableError, match="no host of this name"):
        open_source(camera(server, "h264", source="rtsp://camera.invalid/x"))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_frozen_camera_stalls_and_can_not_be_opened_meanwhile(server: RtspServer, transport: str) -> None:
    gate = camera(server, "mjpeg", transport=transport, stall_seconds=3)
    source = open_source(gate)
    try:
        next_of(source)
        server.freeze()
        with pytest.raises(Stalled):
            read_all(source)
        with pytest.raises(SourceUnavailableError, match="no answer within 1 s"):
            open_source(gate.model_copy(update={"stall_seconds": 1.0}))
    finally:
        server.thaw()
        source.close()
    assert len(shots(gate, 3)) == 3


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_that_dies_is_lost_at_once_and_back_when_it_is(transport: str) -> None:
    with rtsp_server("mjpeg=mjpeg:64x48@25") as server:
        gate = camera(server, "mjpeg", transport=transport)
        source = open_source(gate)
        next_of(source)
        server.kill()
        with pytest.raises(SourceUnavailableError, match=r"closed the connection|Connection"):
            read_all(source)
        source.close()
        server.start()
        assert len(shots(gate, 3)) == 3


def test_what_ffmpeg_generates_is_a_source_too(tmp_path: Path) -> None:
    gate = CameraSettings(name="gate", source="testsrc=size=96x64:rate=10", format="lavfi", loop=False)
    made = shots(gate, 5)
    assert [shot.at_seconds for shot in made] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
