import os
from pathlib import Path
from threading import Thread

import pytest

from framemesh.errors import ConfigurationError
from ingest.folders import FolderSource
from ingest.settings import CameraSettings
from ingest.sources import open_source
from ingest.stills import StillSource
from ingest.streams import StreamSource
from ingest.videos import VideoSource
from tests.ingest.media import elementary_stream, image, jpeg, sound, video


def camera(source: Path | str, **others: object) -> CameraSettings:
    return CameraSettings.model_validate({"name": "gate", "source": str(source), **others})


def test_content_decides_what_a_source_is(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg())
    (tmp_path / "photo.mp4").write_bytes(image())
    video(tmp_path / "film.mp4").rename(tmp_path / "film.jpg")
    sources = [open_source(camera(tmp_path / name)) for name in ("photos", "photo.mp4", "film.jpg")]
    assert [type(source) for source in sources] == [FolderSource, StillSource, VideoSource]
    for source in sources:
        assert source.read() is not None
        source.close()


def test_cameras_on_one_photo_share_its_pictures(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(image())
    one, two, other = (
        open_source(camera(path, width_px=32, height_px=24, quality=quality)) for quality in (80, 80, 50)
    )
    first, second, third = (source.read() for source in (one, two, other))
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.content is second.content
    assert third.content is not first.content


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.png", "can't be opened: No such file"),
        ("text.mp4", "is no video|no picture in it"),
        ("empty", "there is no image in it: put JPEG"),
        ("song.m4a", "there is no picture in it"),
    ],
)
def test_what_is_no_source_is_told_with_its_name_and_what_to_do(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    (tmp_path / "empty").mkdir()
    sound(tmp_path / "song.m4a")
    with pytest.raises(ConfigurationError, match=words) as caught:
        open_source(camera(tmp_path / name))
    assert str(caught.value).startswith(f"source {tmp_path / name}")


def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = Thread(target=path.write_bytes, args=(elementary_stream("h264"),))
    writer.start()
    source = open_source(camera(path, format="h264"))
    assert isinstance(source, StreamSource)
    assert source.read() is not None
    source.close()
    writer.join()
