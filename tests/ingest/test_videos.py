import struct
from pathlib import Path

import pytest

from framemesh.errors import ConfigurationError, InvalidImageError
from ingest.pictures import Picture, Size
from ingest.settings import CameraSettings
from ingest.shaping import Shaper
from ingest.shots import EndOfSource
from ingest.sources import open_source
from ingest.videos import VideoSource
from tests.ingest.media import GREYS, elementary_stream, grey_of, jpeg, size_of, sound, video


class Pictures:
    """What becomes of a video's shots."""

    def __init__(self, path: Path, **others: object) -> None:
        camera = CameraSettings.model_validate({"name": "gate", "source": str(path), **others})
        opened = open_source(camera)
        assert isinstance(opened, VideoSource)
        self.source = opened
        self._shaper = Shaper(camera)

    def read(self) -> Picture:
        picture = self._shaper.shape(self.source.read())
        assert picture is not None
        return picture


def source(path: Path, **others: object) -> Pictures:
    return Pictures(path, **others)


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", "mp4"), ("mpeg4", "avi"), ("libvpx", "mkv")])
def test_every_frame_comes_once_a_round_in_order(tmp_path: Path, codec: str, suffix: str) -> None:
    pictures = source(video(tmp_path / f"v.{suffix}", codec=codec))
    assert [grey_of(pictures.read().body) for _ in range(2 * len(GREYS))] == [*GREYS, *GREYS]


@pytest.mark.parametrize(("asked", "got"), [(None, Size(64, 48)), (Size(32, 32), Size(32, 32))])
def test_pictures_have_the_size_asked_for_or_the_videos_own(tmp_path: Path, asked: Size | None, got: Size) -> None:
    sizes = {} if asked is None else {"width_px": asked.width_px, "height_px": asked.height_px}
    picture = source(video(tmp_path / "v.mp4"), **sizes).read()
    assert (picture.content_type, picture.size) == ("image/jpeg", got)
    assert size_of(picture.body) == (got.width_px, got.height_px)


@pytest.mark.parametrize("name", ["notes.mp4", "notes.txt"])
def test_a_text_file_is_no_video(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("no video at all\n" * 100)
    with pytest.raises(ConfigurationError, match=name):
        source(path)


def test_a_file_with_audio_alone_has_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"song\.mp4: there is no picture in it: is it a video"):
        source(sound(tmp_path / "song.mp4"))


def test_a_video_cut_short_can_not_be_opened_or_shows_what_is_there(tmp_path: Path) -> None:
    whole = video(tmp_path / "v.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigurationError, match=r"cut\.mp4"):
        source(tmp_path / "cut.mp4")
    whole = video(tmp_path / "v.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) - 100])
    pictures = source(tmp_path / "cut.mkv")
    assert grey_of(pictures.read().body) == GREYS[0]


def test_a_frame_that_can_not_be_decoded_is_told_and_passed_over(tmp_path: Path) -> None:
    path = video(tmp_path / "v.mov", codec="png")
    third = path.read_bytes().split(b"\x89PNG")
    third[3] = bytes(len(third[3]))
    path.write_bytes(b"\x89PNG".join(third))
    pictures = source(path)
    assert [grey_of(pictures.read().body) for _ in range(2)] == [*GREYS[:2]]
    with pytest.raises(InvalidImageError, match="can't be decoded"):
        pictures.read()
    assert [grey_of(pictures.read().body) for _ in range(6)] == [*GREYS[3:], GREYS[0]]


def test_a_video_taken_upright_is_shown_upright(tmp_path: Path) -> None:
    path = video(tmp_path / "v.mp4")
    matrix = [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000]
    turned = [0, 0x10000, 0, 0xFFFF0000, 0, 0, 0, 0, 0x40000000]  # a quarter clockwise
    before, _, after = path.read_bytes().rpartition(struct.pack(">9I", *matrix))  # the track's own comes last
    path.write_bytes(before + struct.pack(">9I", *turned) + after)
    assert source(path).read().size == Size(48, 64)


def test_a_video_that_is_gone_comes_back(tmp_path: Path) -> None:
    path = video(tmp_path / "v.mp4")
    pictures = source(path)
    round_ = [pictures.read() for _ in GREYS]
    path.rename(tmp_path / "away.mp4")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"v\.mp4"):
            pictures.read()
    (tmp_path / "away.mp4").rename(path)
    assert pictures.read() == round_[0]


def test_a_file_without_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"v\.mp4"):
        source(path)
    path.write_bytes(jpeg()[:20])
    with pytest.raises(ConfigurationError, match=r"v\.mp4"):
        source(path)


def test_a_video_shown_once_has_an_end(tmp_path: Path) -> None:
    pictures = source(video(tmp_path / "v.mp4"), loop=False)
    assert [grey_of(pictures.read().body) for _ in GREYS] == [*GREYS]
    for _ in range(2):
        with pytest.raises(EndOfSource):
            pictures.read()


def test_frames_lie_in_the_videos_own_time_round_after_round(tmp_path: Path) -> None:
    shown = source(video(tmp_path / "v.mp4")).source
    times = [shown.read().at_seconds for _ in range(3 * len(GREYS))]
    assert times == pytest.approx([number / 25 for number in range(3 * len(GREYS))])


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_stream_without_times_has_those_of_its_rate(tmp_path: Path, codec: str) -> None:
    (tmp_path / "v.raw").write_bytes(elementary_stream(codec))
    shown = source(tmp_path / "v.raw", format=codec).source
    times = [shown.read().at_seconds for _ in GREYS]
    assert times == pytest.approx([number / 25 for number in range(len(GREYS))])


def test_the_jpegs_of_a_video_pass_byte_for_byte(tmp_path: Path) -> None:
    path = video(tmp_path / "v.avi", codec="mjpeg")
    pictures = source(path)
    bodies = [pictures.read().body for _ in GREYS]
    assert [grey_of(body) for body in bodies] == [*GREYS]
    assert all(body in path.read_bytes() for body in bodies)


def test_of_key_frames_alone_there_are_fewer(tmp_path: Path) -> None:
    pictures = source(video(tmp_path / "v.mp4"), key_frames_only=True)
    assert [grey_of(pictures.read().body) for _ in range(3)] == [GREYS[0]] * 3
