import os
import time
from pathlib import Path

import pytest

from framemesh.errors import ConfigurationError, ImageTooLargeError, InvalidImageError
from ingest import folders
from ingest.folders import FolderSource
from ingest.pictures import Picture, Size
from ingest.settings import CameraSettings
from ingest.shaping import Shaper
from tests.ingest.media import GREYS, grey_of, image, jpeg, size_of


class Pictures:
    """What becomes of a folder's shots."""

    def __init__(self, folder: Path, **others: object) -> None:
        camera = CameraSettings.model_validate({"name": "gate", "source": str(folder), **others})
        self.source = FolderSource(folder, loop=camera.loop)
        self._shaper = Shaper(camera)

    def read(self) -> Picture:
        shot = self.source.read()
        assert shot is not None
        picture = self._shaper.shape(shot)
        assert picture is not None
        return picture


def source(folder: Path, **others: object) -> Pictures:
    return Pictures(folder, **others)


def settle(*paths: Path) -> None:
    """Make files look as if nobody had written to them lately."""
    for path in paths:
        os.utime(path, (1_767_225_600, 1_767_225_600))


def fill(folder: Path) -> None:
    for grey in reversed(GREYS):
        (folder / f"{grey:03d}.jpg").write_bytes(jpeg(grey))


def test_files_come_in_the_order_of_their_names_round_after_round(tmp_path: Path) -> None:
    fill(tmp_path)
    pictures = source(tmp_path)
    assert [grey_of(pictures.read().body) for _ in range(2 * len(GREYS))] == [*GREYS, *GREYS]


def test_a_jpeg_passes_byte_for_byte_where_no_size_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg() + b"what the camera appended")
    picture = source(tmp_path).read()
    assert picture.body == (tmp_path / "a.jpg").read_bytes()
    assert (picture.content_type, picture.size) == ("image/jpeg", Size(64, 48))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_images_become_jpegs(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(image(80, kind=kind))
    picture = source(tmp_path).read()
    assert (picture.content_type, picture.size, grey_of(picture.body)) == ("image/jpeg", Size(64, 48), 80)


def test_pictures_have_the_size_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    picture = source(tmp_path, width_px=32, height_px=32).read()
    assert (picture.size, size_of(picture.body)) == (Size(32, 32), (32, 32))


def test_a_file_that_is_no_image_is_named_once_and_then_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no image")
    (tmp_path / "b.jpg").write_bytes(jpeg(80))
    (tmp_path / "c.jpg").write_bytes(jpeg(112)[:-30])
    (tmp_path / "d.jpg").mkdir()
    pictures = source(tmp_path)
    with pytest.raises(InvalidImageError, match=r"a\.txt"):
        pictures.read()
    assert grey_of(pictures.read().body) == 80
    with pytest.raises(InvalidImageError, match=r"c\.jpg"):
        pictures.read()
    assert [grey_of(pictures.read().body) for _ in range(3)] == [80, 80, 80]


def test_a_file_over_the_limit_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg() + bytes(9 << 20))
    with pytest.raises(ImageTooLargeError, match=r"a\.jpg"):
        source(tmp_path).read()


def test_a_file_far_over_the_limit_is_named_once_and_never_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    os.truncate(tmp_path / "a.jpg", 1 << 40)  # takes no disk, and would take all memory
    (tmp_path / "b.jpg").write_bytes(jpeg(80))
    pictures = source(tmp_path)
    with pytest.raises(
        ImageTooLargeError, match=r"a\.jpg: the image has 1,099,511,627,776 bytes; the limit is 8,388,608"
    ):
        pictures.read()
    assert [grey_of(pictures.read().body) for _ in range(2)] == [80, 80]


@pytest.mark.parametrize("names", [[], ["readme.txt"]])
def test_a_folder_without_images_can_not_be_opened(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("no image")
    with pytest.raises(ConfigurationError, match="there is no image in it"):
        source(tmp_path)


def test_files_may_come_and_go(tmp_path: Path) -> None:
    fill(tmp_path)
    pictures = source(tmp_path)
    pictures.read()
    for path in tmp_path.iterdir():
        path.unlink()
    for _ in GREYS[1:]:
        with pytest.raises(InvalidImageError, match="can't be read"):
            pictures.read()
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="there is no image in it"):
            pictures.read()
    (tmp_path / "new.jpg").write_bytes(jpeg(208))
    assert grey_of(pictures.read().body) == 208


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg())
    pictures = source(folder)
    pictures.read()
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="photos can't be listed"):
        pictures.read()


def test_without_rounds_each_file_comes_once_and_then_what_is_new_or_written_anew(tmp_path: Path) -> None:
    fill(tmp_path)
    pictures = source(tmp_path, loop=False)
    assert [grey_of(pictures.read().body) for _ in GREYS] == [*GREYS]
    assert pictures.source.read() is None
    (tmp_path / "new.jpg").write_bytes(jpeg(80))
    os.utime(tmp_path / f"{GREYS[0]:03d}.jpg", (1_767_225_600, 1_767_225_600))
    shown = [wait_for(pictures) for _ in range(2)]
    assert [grey_of(picture.body) for picture in shown] == [GREYS[0], 80]
    assert pictures.source.read() is None


def test_a_folder_that_can_not_be_read_for_a_while_is_told_of_once_and_shows_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(folders, "_LISTING_SHARE", 1e9)
    folder = tmp_path / "photos"
    folder.mkdir()
    fill(folder)
    pictures = source(folder, loop=False)
    assert [grey_of(pictures.read().body) for _ in GREYS] == [*GREYS]
    for _ in range(2):
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(InvalidImageError, match="photos can't be listed"):
            pictures.read()
        assert [pictures.source.read() for _ in range(3)] == [None, None, None]
        (tmp_path / "elsewhere").rename(folder)
        assert pictures.source.read() is None
    (folder / "new.jpg").write_bytes(jpeg(80))
    assert grey_of(pictures.read().body) == 80


def test_a_file_that_goes_while_the_folder_is_listed_hides_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    going = tmp_path / "going.jpg"
    going.write_bytes(jpeg())
    is_file = Path.is_file

    def goes_then(path: Path) -> bool:
        found = is_file(path)
        if path == going:
            going.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "is_file", goes_then)
    pictures = source(tmp_path)
    assert [grey_of(pictures.read().body) for _ in GREYS] == [*GREYS]


def wait_for(pictures: Pictures) -> Picture:
    """The next picture, however often one has to ask."""
    for _ in range(1000):
        shot = pictures.source.read()
        if shot is not None:
            assert isinstance(shot.content, Picture)
            return shot.content
        time.sleep(0.01)
    raise AssertionError("nothing came")


def test_a_folder_may_be_empty_where_files_are_waited_for(tmp_path: Path) -> None:
    pictures = source(tmp_path, loop=False)
    assert pictures.source.read() is None
    (tmp_path / "a.jpg").write_bytes(jpeg(208))
    assert grey_of(wait_for(pictures).body) == 208


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_file_that_is_still_being_written_is_waited_for(tmp_path: Path, kind: str) -> None:
    whole = image(80, kind=kind)
    pictures = source(tmp_path, loop=False)
    (tmp_path / "a").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.jpg").write_bytes(jpeg(112))
    assert grey_of(wait_for(pictures).body) == 112
    assert pictures.source.read() is None
    (tmp_path / "a").write_bytes(whole)
    settle(tmp_path / "a")
    assert grey_of(wait_for(pictures).body) == 80


def test_a_file_that_never_becomes_whole_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg()[:-30])
    settle(tmp_path / "a.jpg")
    pictures = source(tmp_path, loop=False).source
    with pytest.raises(InvalidImageError, match=r"a\.jpg"):
        pictures.read()
    assert pictures.read() is None


def test_a_new_file_was_taken_when_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    settle(tmp_path / "a.jpg")
    shot = source(tmp_path, loop=False).source.read()
    assert shot is not None
    assert shot.captured_ns == 1_767_225_600 * 10**9
