from pathlib import Path

import pytest

from framemesh.errors import ConfigurationError, ImageTooLargeError, InvalidImageError
from ingest.folders import FolderSource
from ingest.pictures import Size
from tests.ingest.media import GREYS, grey_of, image, jpeg, size_of


def source(folder: Path, size: Size | None = None) -> FolderSource:
    return FolderSource(folder, size=size, quality=80)


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
    picture = source(tmp_path, Size(32, 32)).read()
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


@pytest.mark.parametrize("names", [[], ["readme.txt"]])
def test_a_folder_without_images_can_not_be_opened(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("no image")
    with pytest.raises(ConfigurationError, match="there is no image in"):
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
        with pytest.raises(ConfigurationError, match="there is no image in"):
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
