from PIL import Image

from ingest.changes import CELLS, ChangeFilter, changed_cells


def cells(grey: int = 100, *, spot: tuple[int, int, int, int] | None = None) -> Image.Image:
    image = Image.new("L", CELLS, grey)
    if spot is not None:
        image.paste(200, spot)
    return image


def test_what_hardly_differs_does_not_pass() -> None:
    changes = ChangeFilter(min_change=0.01, max_silence_seconds=100)
    assert changes.passes(cells(), 0)
    assert not changes.passes(cells(103), 1)  # noise
    assert not changes.passes(cells(spot=(0, 0, 5, 6)), 2)  # 30 of 3,072 cells
    assert changes.passes(cells(spot=(0, 0, 5, 7)), 3)
    assert not changes.passes(cells(spot=(0, 0, 5, 7)), 4)


def test_what_creeps_passes_once_it_has_come_far_enough() -> None:
    changes = ChangeFilter(min_change=0.5, max_silence_seconds=1000)
    passed = [changes.passes(cells(grey), grey) for grey in range(100, 130)]
    assert [grey for grey, passes in enumerate(passed) if passes] == [0, 8, 16, 24]


def test_after_the_longest_silence_a_picture_passes_whatever_it_shows() -> None:
    changes = ChangeFilter(min_change=0.01, max_silence_seconds=10)
    assert [changes.passes(cells(), second) for second in (0, 5, 9.9, 10, 15, 20)] == [
        True, False, False, True, False, True,
    ]  # fmt: skip


def test_darker_and_brighter_count_alike() -> None:
    assert changed_cells(cells(100), cells(50)) == changed_cells(cells(50), cells(100)) == CELLS[0] * CELLS[1]
