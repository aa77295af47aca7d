from pathlib import Path

import pytest

from framemesh.errors import ConfigurationError, FramemeshError
from framemesh.mesh.cameras import check_cameras, parse_cameras


def test_a_number_gives_demo_cameras_that_exist_and_differ() -> None:
    cameras = parse_cameras("8", fps=None, size=None).listed
    assert [camera.name for camera in cameras[:2]] == ["chelsea", "coffee"]
    assert len({camera.name for camera in cameras}) == 8
    assert all(Path(camera.source).exists() for camera in cameras)


def test_none_means_none() -> None:
    assert not parse_cameras("none", fps=None, size=None)


def test_paths_and_urls_get_the_names_that_they_are_given(tmp_path: Path) -> None:
    url = "rtsp://viewer:secret@10.0.0.7/main?profile=1"
    cameras = parse_cameras(f"gate={tmp_path},door={url}", fps=5, size="640x480")
    assert [(camera.name, camera.source) for camera in cameras.listed] == [("gate", str(tmp_path)), ("door", url)]
    assert {(camera.fps, camera.size) for camera in cameras.listed} == {(5, (640, 480))}
    assert check_cameras(cameras) == ["gate", "door"]


def test_a_file_is_taken_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMESH_CAMERAS", "[]")  # of whoever starts the mesh: what it says itself goes first
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras: [{name: gate, source: gate.mp4}, {name: door, source: door.mp4}]")
    cameras = parse_cameras(str(file), fps=None, size=None)
    assert cameras.file == file
    assert cameras
    assert check_cameras(cameras) == ["gate", "door"]


def test_what_only_the_ingest_service_can_find_is_told_in_its_words(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras:\n  - {name: gate, source: a.mp4, fps: 0}\n  - {name: gate, source: a.mp4}\n")
    with pytest.raises(ConfigurationError, match=r"cameras\.yaml:2:38: camera 'gate': fps should be greater than 0"):
        check_cameras(parse_cameras(str(file), fps=None, size=None))
    with pytest.raises(ConfigurationError, match=r"FRAMEMESH_CAMERAS_0_SOURCE: .* did you mean rtsp") as caught:
        check_cameras(parse_cameras("gate=rtspp://viewer:hunter2@10.0.0.7", fps=None, size=None))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fps", "size", "names"),
    [
        ("0", 30, "1280x720", "1 to"),
        ("1000", 30, "1280x720", "1 to"),
        ("gate", 30, "1280x720", "NAME=SOURCE"),
        ("Gate=/tmp", 30, "1280x720", "Gate"),
        ("a=/tmp,a=/tmp", 30, "1280x720", "two cameras"),
        ("a=/no/such/file", 30, "1280x720", "/no/such/file"),
        ("1", 0, "1280x720", "--fps"),
        ("1", 1e9, "1280x720", "--fps"),
        ("1", 30, "1280", "--size"),
        ("1", 30, "0x720", "--size"),
        ("1", 30, "99999x99999", "--size"),
        ("cameras.yaml", None, None, "no file 'cameras.yaml'"),
        ("cameras.yaml", 5, None, "write them into cameras.yaml"),
    ],
)
def test_what_cannot_be_a_camera_says_why(text: str, fps: float | None, size: str | None, names: str) -> None:
    with pytest.raises(FramemeshError, match=names):
        parse_cameras(text, fps=fps, size=size)
