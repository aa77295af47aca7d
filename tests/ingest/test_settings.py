import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from framemesh.errors import ConfigurationError
from ingest.pictures import Size
from ingest.settings import CameraSettings, IngestSettings

GATE = {"name": "gate", "source": "/videos/gate.mp4"}


def settings(monkeypatch: pytest.MonkeyPatch, cameras: object) -> IngestSettings:
    monkeypatch.setenv("FRAMEMESH_NATS_URL", "nats://127.0.0.1:4222")
    monkeypatch.setenv("FRAMEMESH_CAMERAS", cameras if isinstance(cameras, str) else json.dumps(cameras))
    return IngestSettings()  # type: ignore[call-arg]  # from the environment


def test_a_camera_needs_a_name_and_a_source_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    (camera,) = settings(monkeypatch, [GATE]).cameras
    assert (camera.fps, camera.size, camera.encoding_quality) == (None, None, 80)


def test_everything_may_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    full = {**GATE, "fps": 29.97, "width_px": 640, "height_px": 480, "quality": 95}
    (camera,) = settings(monkeypatch, [full]).cameras
    assert (camera.fps, camera.size, camera.quality) == (29.97, Size(640, 480), 95)


@pytest.mark.parametrize(
    ("cameras", "place", "words"),
    [
        ("gate=/videos/gate.mp4", ("cameras",), "Invalid JSON"),
        ([], ("cameras",), "at least one"),
        ([GATE, GATE], ("cameras",), "more than once: gate"),
        ([{**GATE, "name": "Gate 1"}], ("cameras", 0, "name"), "can't name a camera"),
        ([{"name": "gate"}], ("cameras", 0, "source"), "required"),
        ([{**GATE, "source": ""}], ("cameras", 0, "source"), "at least 1"),
        ([{**GATE, "fps": 0}], ("cameras", 0, "fps"), "greater than 0"),
        ([{**GATE, "fps": 241}], ("cameras", 0, "fps"), "less than or equal to 240"),
        ('[{"name": "gate", "source": "a", "fps": NaN}]', ("cameras", 0, "fps"), "less than or equal to 240"),
        ([{**GATE, "quality": 96}], ("cameras", 0, "quality"), "less than or equal to 95"),
        ([{**GATE, "width_px": 640}], ("cameras", 0), "both"),
        ([{**GATE, "width_px": 16_000, "height_px": 16_000}], ("cameras", 0), "50,000,000 pixels"),
        ([{**GATE, "colour": "red"}], ("cameras", 0, "colour"), "not permitted"),
        ([{**GATE, "name": "yard/north.1"}], ("cameras", 0, "name"), "such as 'yard-north-1'"),
        ([{**GATE, "rotate": 45}], ("cameras", 0, "rotate"), "0, 90, 180 or 270"),
        ([{**GATE, "max_width_px": 0}], ("cameras", 0, "max_width_px"), "greater than or equal to 1"),
        ([{**GATE, "width_px": 64, "height_px": 48, "max_width_px": 9}], ("cameras", 0), "leave out max_width_px"),
        ([{**GATE, "min_change": 0}], ("cameras", 0, "min_change"), "greater than 0"),
        ([{**GATE, "min_change": 1.5}], ("cameras", 0, "min_change"), "less than or equal to 1"),
        ([{**GATE, "source": "rstp://camera"}], ("cameras", 0, "source"), "did you mean rtsp://?"),
        ([{**GATE, "source": "gopher://camera"}], ("cameras", 0, "source"), "use a path, or a URL of rtsp"),
        ([{**GATE, "source": "rtsp://:554/main"}], ("cameras", 0, "source"), "write rtsp://host:port/path"),
        ([{**GATE, "source": "rtsp://camera:0/main"}], ("cameras", 0, "source"), "write rtsp://host:port/path"),
        ([{**GATE, "source": "rtsp://camera:70000"}], ("cameras", 0, "source"), "write rtsp://host:port/path"),
        ([{**GATE, "source": "rtsp://a camera/main"}], ("cameras", 0, "source"), "write rtsp://host:port/path"),
        ([{**GATE, "source": "rtsp://u:p#w@camera"}], ("cameras", 0, "source"), "special characters"),
        ([{**GATE, "password": "p"}], ("cameras", 0), "password needs username"),
        ([{**GATE, "nats_password_file": "p"}], ("cameras", 0), "nats_password needs nats_username"),
        ([{**GATE, "username": "u", "password": "p", "password_file": "f"}], ("cameras", 0), "set either password"),
        ([{**GATE, "source": "http://u@c", "username": "u"}], ("cameras", 0), "leave out username"),
        ([{**GATE, "nats_username": "u", "nats_credentials_file": "f"}], ("cameras", 0), "set either nats_credentials"),
    ],
)
def test_what_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, cameras: object, place: tuple[str | int, ...], words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(monkeypatch, cameras)
    (problem,) = caught.value.errors()
    assert problem["loc"] == place
    assert words in problem["msg"]


def test_either_a_list_or_a_file_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMESH_CAMERAS_FILE", "cameras.yaml")
    for cameras in ("", json.dumps([GATE])):
        if cameras:
            with pytest.raises(ValidationError, match="set either FRAMEMESH_CAMERAS or FRAMEMESH_CAMERAS_FILE"):
                settings(monkeypatch, cameras)
        else:
            assert settings(monkeypatch, cameras).cameras == ()
    monkeypatch.delenv("FRAMEMESH_CAMERAS_FILE")
    with pytest.raises(ValidationError, match="set either"):
        settings(monkeypatch, "")


@pytest.mark.parametrize(
    ("source", "clean", "login"),
    [
        ("rtsp://viewer:pass@10.0.0.7:554/main?a=b@c", "rtsp://10.0.0.7:554/main?a=b@c", ("viewer", "pass")),
        ("http://viewer@camera/", "http://camera/", ("viewer", "")),
        ("http://a%40b:p%2F%3A%40w@camera/x", "http://camera/x", ("a@b", "p/:@w")),
        ("rtsp://viewer:p@ss@10.0.0.7", "rtsp://10.0.0.7", ("viewer", "p@ss")),
        ("rtsp://[fe80::1]:554/main", "rtsp://[fe80::1]:554/main", None),
        ("folder/user:pass@host", "folder/user:pass@host", None),
    ],
)
def test_user_and_password_are_taken_out_of_a_url(source: str, clean: str, login: tuple[str, str] | None) -> None:
    camera = CameraSettings(name="gate", source=source)
    assert (camera.source, camera.login()) == (clean, login)
    assert "pass" not in repr(camera).replace("password", "")


def test_a_password_is_read_from_its_file_each_time(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    camera = CameraSettings(name="gate", source="rtsp://camera", username="viewer", password_file=file)
    with pytest.raises(ConfigurationError, match=r"password_file: .*secret can't be read: No such file"):
        camera.login()
    for password in ("one", "two"):
        file.write_text(f"{password}\r\n")
        assert camera.login() == ("viewer", password)


def test_logs_may_show_what_stands_before_a_query() -> None:
    assert CameraSettings(name="gate", source="http://camera/shot?token=abc").place == "http://camera/shot"
    assert CameraSettings(name="gate", source="what?/a.mp4").place == "what?/a.mp4"
