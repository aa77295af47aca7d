import threading
from pathlib import Path

import pytest

from framemesh.folders import clear_unfinished, made_once


def test_a_folder_appears_whole_and_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with made_once(folder, intact=Path.exists) as unfinished:
        assert unfinished is not None
        (unfinished / "file").write_text("first")
        assert not folder.exists()
    with made_once(folder, intact=Path.exists) as unfinished:
        assert unfinished is None
    assert (folder / "file").read_text() == "first"


def test_one_that_fails_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with pytest.raises(RuntimeError), made_once(folder, intact=Path.exists):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == [".folder.lock"]


def test_what_a_killed_process_left_and_a_damaged_folder_are_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for left in (folder, tmp_path / ".folder.unfinished"):
        left.mkdir()
        (left / "old").touch()
    with made_once(folder, intact=lambda _: False) as unfinished:
        assert unfinished is not None
        (unfinished / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_others_wait_for_the_one_that_makes_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    makers: list[bool] = []

    def make() -> None:
        with made_once(folder, intact=Path.exists) as unfinished:
            makers.append(unfinished is not None)

    with made_once(folder, intact=Path.exists):
        threads = [threading.Thread(target=make) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert not makers
    for thread in threads:
        thread.join()
    assert makers == [False] * 3


def test_only_what_nobody_is_making_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "models" / ".killed.unfinished").mkdir(parents=True)
    with made_once(tmp_path / "models" / "made", intact=Path.exists) as unfinished:
        clear_unfinished(tmp_path)
        assert unfinished is not None
        assert unfinished.exists()
        assert not (tmp_path / "models" / ".killed.unfinished").exists()
    clear_unfinished(tmp_path)
    assert (tmp_path / "models" / "made").exists()
    clear_unfinished(tmp_path / "nowhere")
