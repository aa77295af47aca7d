import json

import pytest
from pydantic import ValidationError

from ingest.pictures import Size
from ingest.settings import IngestSettings

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
