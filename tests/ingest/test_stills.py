import os
from pathlib import Path

import pytest

from framemesh.errors import ConfigurationError
from ingest import stills
from ingest.pictures import Picture, Size
from ingest.stills import PICTURES, StillLoop, StillSource
from tests.ingest.media import image, size_of

SMALL = Size(160, 90)


class Pictures:
    """What a camera on a loop shows."""

    def __init__(self, loop: StillLoop, *, fps: float) -> None:
        self._source = StillSource(loop, fps=fps)

    def read(self) -> Picture:
        content = self._source.read().content
        assert isinstance(content, Picture)
        return content


@pytest.fixture(scope="module")
def loop(photos: Path) -> StillLoop:
    return StillLoop(photos / "chelsea.png", size=SMALL, quality=80)


def test_a_still_moves_in_frames_of_the_size_asked_for(loop: StillLoop) -> None:
    source = Pictures(loop, fps=30)
    pictures = [source.read() for _ in range(PICTURES)]
    assert len({picture.body for picture in pictures}) == PICTURES
    assert {picture.size for picture in pictures} == {SMALL}
    assert size_of(pictures[0].body) == (160, 90)


def test_a_picture_is_rendered_once_for_all_rounds_and_cameras(loop: StillLoop) -> None:
    source, other = Pictures(loop, fps=30), Pictures(loop, fps=30)
    first = [source.read() for _ in range(PICTURES)]
    assert all(source.read() is picture for picture in first)
    assert all(other.read() is picture for picture in first)


def test_a_loop_takes_as_long_at_any_rate(loop: StillLoop) -> None:
    slow, fast = Pictures(loop, fps=7.5), Pictures(loop, fps=60)
    shown = [slow.read() for _ in range(31)]
    assert len({id(picture) for picture in shown}) == 30
    assert shown[30] is shown[0]
    pairs = [fast.read() for _ in range(240)]
    assert all(pairs[number] is pairs[number + 1] for number in range(0, 240, 2))
    assert fast.read() is pairs[0]


def test_a_loop_keeps_no_more_bytes_than_it_may(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = StillLoop(photos / "chelsea.png", size=SMALL, quality=80)
    monkeypatch.setattr(stills, "MAX_KEPT_BYTES", 2 * len(loop.picture(0).body))
    again = [[loop.picture(number) for number in range(10)] for _ in range(2)]
    assert again[0] == again[1]
    assert loop.picture(0) is again[0][0]
    assert loop.picture(9) is not again[0][9]


def test_a_large_photo_is_held_no_larger_than_its_frames_need(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(image(width=3000, height=2000))
    loop = StillLoop(path, size=SMALL, quality=80)
    assert loop._photo.size == (213, 142)
    assert size_of(loop.picture(60).body) == (160, 90)


def test_a_damaged_photo_can_not_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(image(width=300, height=300)[:200])
    with pytest.raises(ConfigurationError, match=r"cut\.png.*damaged"):
        StillLoop(path, size=SMALL, quality=80)


def test_a_photo_far_over_the_limit_can_not_be_opened_and_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(image())
    os.truncate(path, 1 << 40)  # takes no disk, and would take all memory
    with pytest.raises(ConfigurationError, match=r"huge\.png: the image has 1,099,511,627,776 bytes"):
        StillLoop(path, size=SMALL, quality=80)
