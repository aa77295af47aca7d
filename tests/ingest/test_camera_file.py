"""Files of cameras: what they mean, and what is said of each mistake."""

from pathlib import Path

import pytest

from framemesh.errors import ConfigurationError
from ingest.camera_file import read_cameras
from ingest.settings import CameraSettings


def cameras(folder: Path, text: str, **variables: str) -> tuple[CameraSettings, ...]:
    (folder / "cameras.yaml").write_text(text)
    return read_cameras(folder / "cameras.yaml", variables)


def problems(folder: Path, text: str, **variables: str) -> list[str]:
    """What is wrong, without the file's path."""
    with pytest.raises(ConfigurationError) as caught:
        cameras(folder, text, **variables)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{folder}/cameras.yaml:") for line in lines)
    return [line.removeprefix(f"{folder}/cameras.yaml:") for line in lines]


def test_a_camera_takes_from_the_defaults_what_it_leaves_open(tmp_path: Path) -> None:
    text = """
defaults: {fps: 5, quality: 70}
cameras:
  - {name: gate, source: gate.mp4}
  - {name: door, source: door.mp4, fps: 1, quality: null}
"""
    gate, door = cameras(tmp_path, text)
    assert (gate.fps, gate.quality) == (5, 70)
    assert (door.fps, door.quality) == (1, None)


def test_null_takes_away_the_default_of_any_setting(tmp_path: Path) -> None:
    text = """
defaults: {loop: false, transport: udp, stall_seconds: 3, rotate: 90, masks: [{rectangle: [0, 0, 1, 0.5]}]}
cameras:
  - {name: gate, source: gate.mp4, loop: null, transport: null, stall_seconds: null, rotate: null, masks: null}
"""
    (gate,) = cameras(tmp_path, text)
    assert gate == CameraSettings(name="gate", source=f"{tmp_path}/gate.mp4")


def test_null_takes_away_nothing_that_a_camera_must_have_and_is_no_setting(tmp_path: Path) -> None:
    assert problems(tmp_path, "cameras:\n  - {name: gate, source: null, lop: null}") == [
        "2:26: camera 'gate': source is missing",
        "2:32: camera 'gate': there is no setting lop; did you mean loop?",
    ]


def test_what_stands_for_the_same_replaces_the_default(tmp_path: Path) -> None:
    text = """
defaults: {width_px: 640, height_px: 480, username: viewer, password: one}
cameras:
  - {name: small, source: a.mp4, max_width_px: 320}
  - {name: own, source: a.mp4, password_file: two}
  - {name: url, source: "http://user:three@camera/mjpeg"}
"""
    (tmp_path / "two").write_text("two\n")
    small, own, url = cameras(tmp_path, text)
    assert (small.size, small.max_width_px) == (None, 320)
    assert [camera.login() for camera in (small, own, url)] == [("viewer", "one"), ("viewer", "two"), ("user", "three")]


def test_paths_are_relative_to_the_files_folder_and_nothing_else_is(tmp_path: Path) -> None:
    text = """
cameras:
  - {name: a, source: videos/a.mp4, username: u, password_file: secrets/a}
  - {name: b, source: /videos/b.mp4, nats_credentials_file: b.creds}
  - {name: c, source: "rtsp://10.0.0.7/main"}
  - {name: d, source: testsrc, format: lavfi}
"""
    a, b, c, d = cameras(tmp_path, text)
    assert (a.source, a.password_file) == (f"{tmp_path}/videos/a.mp4", tmp_path / "secrets/a")
    assert (b.source, b.nats_credentials_file) == ("/videos/b.mp4", tmp_path / "b.creds")
    assert (c.source, d.source) == ("rtsp://10.0.0.7/main", "testsrc")


def test_variables_are_filled_in_and_told_where_they_are_not_set(tmp_path: Path) -> None:
    text = """
cameras:
  - {name: gate, source: "rtsp://viewer:${PASSWORD}@${HOST}/main", fps: "${FPS}"}
  - {name: door, source: "rtsp://10.0.0.8", username: viewer, password: "$${PASSWORD}$"}
"""
    gate, door = cameras(tmp_path, text, PASSWORD="p@ss", HOST="10.0.0.7", FPS="5")
    assert (gate.source, gate.login(), gate.fps) == ("rtsp://10.0.0.7/main", ("viewer", "p@ss"), 5)
    assert door.login() == ("viewer", "${PASSWORD}$")
    assert problems(tmp_path, text, HOST="10.0.0.7", FPS="5") == [
        "3:26: ${PASSWORD} is not set: set it in the agent's environment, or write $${ for a plain ${"
    ]


def test_no_error_shows_a_password(tmp_path: Path) -> None:
    text = """
cameras:
  - {name: gate, source: "rtsp://viewer:${SECRET}@10.0.0.7:99999/main"}
  - {name: door, source: "rtsp://viewer:${SECRET}@10.0.0.7", password: "${SECRET}"}
  - {name: yard, source: "rtsp://10.0.0.7", password: "${SECRET}"}
"""
    told = problems(tmp_path, text, SECRET="hunter2")
    assert [line.partition(" ")[0] for line in told] == ["3:26:", "4:5:", "5:5:"]
    assert "hunter2" not in str(told)
    sound = cameras(tmp_path, text.replace(":99999", "").partition("  - {name: door")[0], SECRET="hunter2")
    assert sound[0].login() == ("viewer", "hunter2")
    assert "hunter2" not in repr(sound)


@pytest.mark.parametrize("value", ["*hunter2", "!hunter2 x", "!hunter2!x", "!h'unter2 x", "[&hunter2 a, &hunter2 b]"])
def test_no_error_shows_a_password_that_yaml_takes_for_something_else(tmp_path: Path, value: str) -> None:
    (told,) = problems(tmp_path, f"cameras:\n  - name: gate\n    source: a.mp4\n    password: {value}")
    assert told.startswith("4:")
    assert "needs quotes" in told
    assert "unter2" not in told


@pytest.mark.parametrize("kind", ["bool", "int", "float", "timestamp"])
def test_a_value_that_is_not_of_the_kind_it_names_is_told_at_its_line(tmp_path: Path, kind: str) -> None:
    (told,) = problems(tmp_path, f"cameras:\n  - name: gate\n    source: a.mp4\n    fps: !!{kind} hunter2")
    assert told.startswith("4:")
    assert "hunter2" not in told


def test_merged_and_repeated_values_work(tmp_path: Path) -> None:
    text = """
cameras:
  - &gate {name: gate, source: gate.mp4, fps: 2}
  - {<<: *gate, name: door}
"""
    gate, door = cameras(tmp_path, text)
    assert (door.name, door.source, door.fps) == ("door", gate.source, 2)


def test_a_file_may_have_no_camera(tmp_path: Path) -> None:
    assert cameras(tmp_path, "cameras: []") == ()


def test_every_mistake_is_told_at_once_with_its_line_and_its_mend(tmp_path: Path) -> None:
    text = """\
defaults:
  qality: 70
  name: x
  loop: perhaps
cameras:
  - name: gate
    source: a.mp4
    fps: 0
  - name: yard/north
    source: rtps://10.0.0.8/main
    password: 12345
    loop: true
  - name: door.left
    loop: true
  - gate
  - {name: Gate, source: a.mp4, loop: true, width_px: 640, rotate: 45}
  - {name: a, source: a.mp4, loop: true, width_px: 640}
  - name: b
    loop: true
    source: b.mp4
    masks:
      - rectangle: [0, 0, 320, 120]
      - rectangle: [0, 0, 0.1, 0.2]
        ofpx: [1, 2]
  - {name: c, loop: true, source: a.mp4}
  - {name: c, loop: true, source: b.mp4}
camera: []
"""
    label = "use 1 to 63 of a-z, 0-9 and '-', with no '-' at either end"
    outside = (
        "320, 0 lies outside the picture: shares go from 0 to 1; for pixels add of_px: [width, height] of the picture "
        "on which they were counted"
    )
    assert problems(tmp_path, text) == [
        "2:3: defaults: there is no setting qality; did you mean quality?",
        "3:3: defaults: name is each camera's own: say it there",
        "4:9: defaults: loop should be a valid boolean, unable to interpret input",
        "8:10: camera 'gate': fps should be greater than 0",
        f"9:11: camera 'yard/north': name: 'yard/north' can't name a camera: {label}, such as 'yard-north'",
        "10:13: camera 'yard/north': source: no source begins with rtps://; did you mean rtsp://?",
        "11:15: camera 'yard/north': password should be a string: put it in quotes",
        "13:5: camera 'door.left': source is missing",
        f"13:11: camera 'door.left': name: 'door.left' can't name a camera: {label}, such as 'door-left'",
        "15:5: a camera is written as `- name: ...` and its other settings below that",
        f"16:12: camera 'Gate': name: 'Gate' can't name a camera: {label}, such as 'gate'",
        "16:68: camera 'Gate': rotate should be 0, 90, 180 or 270",
        "17:5: camera 'a': set both width_px and height_px, or neither",
        f"22:9: camera 'b': masks[0]: {outside}",
        "24:9: camera 'b': there is no setting ofpx; did you mean of_px?",
        "26:12: camera 'c': there is one of this name on line 25 already",
        "27:1: there is no setting camera; did you mean cameras?",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: write `cameras:`"),
        ("cameras:\n", "1:9: write `cameras:`"),
        ("- gate", "1:1: write `cameras:`"),
        ("cameras: []\ndefaults: 5", "2:11: write `defaults:`"),
        ("cameras: []\ncameras: []", "2:1: cameras is said twice"),
        ("a: b: c", "1:5: this is no YAML"),
        ("cameras: [", "1:11: this is no YAML"),
        ("cameras: []\n---\na: 1", "2:1: this is no YAML"),
        ("cameras: []\nx: \x07", "2:1: this is no YAML"),
        ("x: !!python/name:os.system", "1:4: this is no YAML"),
        ("? [1]\n: 2", "1:3: a key has to be a word"),
        ("cameras: " + "[" * 1000, "1:1: the file is nested deeper"),
        ("cameras: &a [*a]", "1:1: the file is nested deeper"),
    ],
)
def test_what_is_no_file_of_cameras_is_told_at_its_line(tmp_path: Path, text: str, problem: str) -> None:
    (told,) = problems(tmp_path, text)
    assert told.startswith(problem)


def test_aliases_that_stand_for_billions_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (told,) = problems(tmp_path, "\n".join(lines))
    assert "more than any agent needs" in told


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml can't be read: No such file"):
        read_cameras(tmp_path / "nowhere.yaml", {})
    (tmp_path / "cameras.yaml").write_bytes(b"cameras: \xff\xfe")
    with pytest.raises(ConfigurationError, match="isn't text"):
        read_cameras(tmp_path / "cameras.yaml", {})
