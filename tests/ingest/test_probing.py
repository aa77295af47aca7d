"""What a source offers, asked as users do."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from framemesh.errors import ConfigurationError
from ingest.probing import probe
from ingest.settings import CameraSettings
from tests.ingest.media import jpeg, size_of, video
from tests.ingest.rtsp import CLOCK_AHEAD_SECONDS, PASSWORD, USER, RtspServer, rtsp_server


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    with rtsp_server("gate=h264:96x64@25", "door=mjpeg:64x48@10") as running:
        yield running


def asked(*arguments: str, password: str = PASSWORD) -> tuple[int, str, str]:
    """The command's exit code, and what it printed where."""
    done = subprocess.run(
        (sys.executable, "-m", "framemesh", "ingest", "probe", *arguments),
        env={**os.environ, "FRAMEMESH_CAMERA_PASSWORD": password},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def camera(source: Path | str, **others: object) -> CameraSettings:
    return CameraSettings.model_validate({"name": "probed", "source": str(source), **others})


def test_a_camera_tells_what_it_offers_and_a_picture_is_saved(server: RtspServer, tmp_path: Path) -> None:
    picture = tmp_path / "gate.jpg"
    code, shown, errors = asked(server.url("gate"), "--username", USER, "--save", str(picture), "--json")
    assert (code, errors) == (0, "")
    offer = json.loads(shown)
    assert (offer["container"], offer["codec"], offer["width_px"], offer["height_px"]) == ("rtsp", "h264", 96, 64)
    assert offer["fps"] == pytest.approx(25, rel=0.05)
    assert offer["bits_per_second"] > 0
    assert offer["passes"] is False
    assert offer["clock_ahead_seconds"] == pytest.approx(CLOCK_AHEAD_SECONDS, abs=60)
    assert offer["saved_as"] == str(picture)
    assert size_of(picture.read_bytes()) == (96, 64)


def test_people_read_lines(server: RtspServer) -> None:
    code, shown, _ = asked(server.url("door"), "--username", USER, "--transport", "udp")
    assert code == 0
    lines = shown.splitlines()
    assert lines[0] == server.url("door")
    assert lines[1].startswith("  gives  live video, rtsp, mjpeg, 64 x 48, ")
    assert lines[2] == "  sent   byte for byte"
    assert lines[3].startswith("  clock  its own is +")


def test_what_can_not_be_read_is_one_line(server: RtspServer) -> None:
    code, shown, errors = asked(server.url("gate"), "--username", USER, password="wrong-password")
    assert (code, shown) == (1, "")
    assert errors.startswith(f"framemesh: source {server.url('gate')}: it refuses the login: set username and password")
    assert errors.count("\n") == 1
    assert "wrong-password" not in errors


def test_settings_that_can_not_be_are_one_line_too() -> None:
    code, _, errors = asked("htp://camera/x")
    assert (code, errors) == (1, "framemesh: source: no source begins with htp://; did you mean http://?\n")


def test_a_video_and_a_folder_tell_what_they_are(tmp_path: Path) -> None:
    offer = probe(camera(video(tmp_path / "v.mp4")), None)
    assert (offer.kind, offer.codec, offer.fps, offer.passes) == ("recorded video", "h264", 25, False)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg())
    offer = probe(camera(tmp_path / "photos"), None)
    assert (offer.kind, offer.codec, offer.fps, offer.passes) == ("folder of images", "jpeg", None, True)


def test_a_picture_that_can_not_be_saved_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be written"):
        probe(camera(video(tmp_path / "v.mp4")), tmp_path / "nowhere" / "a.jpg")
