from pathlib import Path

import pytest

from ingest.folders import FolderSource
from ingest.settings import CameraSettings
from ingest.sources import open_sources
from ingest.stills import StillSource
from ingest.videos import VideoSource
from tests.ingest.media import image, jpeg, size_of, sound, video


def test_content_decides_what_a_source_is(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg())
    (tmp_path / "photo.mp4").write_bytes(image())
    video(tmp_path / "film.mp4").rename(tmp_path / "film.jpg")
    cameras = tuple(
        CameraSettings(name=f"camera-{number}", source=str(tmp_path / name))
        for number, name in enumerate(("photos", "photo.mp4", "film.jpg"))
    )
    sources = open_sources(cameras)
    assert [type(source) for source in sources] == [FolderSource, StillSource, VideoSource]
    assert [size_of(source.read().body) for source in sources] == [(64, 48), (1280, 720), (64, 48)]


def test_cameras_on_one_photo_share_its_pictures(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(image())
    one, two, other = open_sources(
        tuple(
            CameraSettings(name=name, source=str(path), width_px=32, height_px=24, quality=quality)
            for name, quality in (("one", 80), ("two", 80), ("other", 50))
        )
    )
    assert one.read() is two.read()
    assert other.read() is not one.read()


def test_all_that_can_not_be_opened_is_told_at_once_with_the_cameras_names(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()
    good = video(tmp_path / "good.mp4")
    sound(tmp_path / "song.m4a")
    sources = {
        "good": good, "missing": tmp_path / "missing.png", "text": tmp_path / "text.mp4",
        "empty": tmp_path / "empty", "song": tmp_path / "song.m4a",
    }  # fmt: skip
    with pytest.raises(ExceptionGroup) as caught:
        open_sources(tuple(CameraSettings(name=name, source=str(path)) for name, path in sources.items()))
    messages = [str(error) for error in caught.value.exceptions]
    assert [message.split(":")[0] for message in messages] == [
        "camera 'missing'", "camera 'text'", "camera 'empty'", "camera 'song'",
    ]  # fmt: skip
    assert "missing.png can't be opened: No such file" in messages[0]
