from pathlib import Path

import pytest

from framemesh.errors import FramemeshError
from framemesh.mesh.cameras import parse_cameras


def test_a_number_gives_demo_cameras_that_exist_and_differ() -> None:
    cameras = parse_cameras("8", fps=30, size="1280x720")
    assert [camera.name for camera in cameras[:2]] == ["chelsea", "coffee"]
    assert len({camera.name for camera in cameras}) == 8
    assert all(camera.source.exists() for camera in cameras)
    assert (cameras[0].fps, cameras[0].width_px, cameras[0].height_px) == (30, 1280, 720)


def test_none_means_none() -> None:
    assert parse_cameras("none", fps=30, size="1280x720") == ()


def test_paths_get_the_names_that_they_are_given(tmp_path: Path) -> None:
    cameras = parse_cameras(f"gate={tmp_path},door={tmp_path}", fps=5, size="640x480")
    assert [(camera.name, camera.source) for camera in cameras] == [("gate", tmp_path), ("door", tmp_path)]


@pytest.mark.parametrize(
    ("text", "fps", "size", "names"),
    [
        ("0", 30, "1280x720", "1 to"),
        ("1000", 30, "1280x720", "1 to"),
        ("gate", 30, "1280x720", "NAME=PATH"),
        ("Gate=/tmp", 30, "1280x720", "Gate"),
        ("a=/tmp,a=/tmp", 30, "1280x720", "two cameras"),
        ("a=/no/such/file", 30, "1280x720", "/no/such/file"),
        ("1", 0, "1280x720", "--fps"),
        ("1", 1e9, "1280x720", "--fps"),
        ("1", 30, "1280", "--size"),
        ("1", 30, "0x720", "--size"),
        ("1", 30, "99999x99999", "--size"),
    ],
)
def test_what_cannot_be_a_camera_says_why(text: str, fps: float, size: str, names: str) -> None:
    with pytest.raises(FramemeshError, match=names):
        parse_cameras(text, fps=fps, size=size)
