"""The buffer on disk, with real files that are torn, damaged, bounded, locked and in the way."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from framemesh.frames import FrameId, headers
from ingest.buffers import Frame, Keep, Kept, Losses
from ingest.spooling import Spool

BODY = bytes(range(256)) * 40


def frame(number: int, body: bytes = BODY) -> Frame:
    frame_id = FrameId("gate", 1_767_225_600_000_000_000 + number)
    words = headers(frame_id, content_type="image/jpeg", width_px=64, height_px=48, sequence=number)
    return Frame(frame_id, body, words)


def spool(folder: Path, *, max_bytes: int = 1 << 20, keep: Keep = "oldest", leave_bytes: int = 0) -> Spool:
    return Spool(folder, max_bytes=max_bytes, leave_bytes=leave_bytes, keep=keep)


def numbers(kept: list[Kept]) -> list[int]:
    return [int(one.frame.headers["Framemesh-Seq"]) for one in kept]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.frames"))


def lost(losses: Losses) -> tuple[int, int, int]:
    return losses.refused, losses.disk_failed, losses.damaged


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """What a full disk is to a writer, for whoever may not mount one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def no_file_more() -> Iterator[None]:
    """Opening one more file fails, as where a process has too many open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_frames_come_out_as_they_went_in_and_in_order(tmp_path: Path) -> None:
    buffer = spool(tmp_path)
    buffer.append([frame(number) for number in range(50)])
    assert buffer.frames == 50
    taken = buffer.take(50, 1 << 30)
    assert [one.frame for one in taken] == [frame(number) for number in range(50)]
    assert numbers(buffer.take(3, 1 << 30)) == [0, 1, 2]
    assert numbers(buffer.take(50, 3 * len(BODY))) == [0, 1]
    assert numbers(buffer.take(50, 1)) == [0]


def test_what_is_done_is_gone_for_good_and_its_files_too(tmp_path: Path) -> None:
    buffer = spool(tmp_path, max_bytes=800_000)
    buffer.append([frame(number) for number in range(30)])
    assert len(files(tmp_path)) > 2
    taken = buffer.take(30, 1 << 30)
    buffer.done([one.place for number, one in enumerate(taken) if number != 7])
    assert numbers(buffer.take(30, 1 << 30)) == [7]
    assert len(files(tmp_path)) <= 2
    buffer.done([taken[7].place, taken[7].place])
    assert buffer.take(30, 1 << 30) == []
    assert (buffer.frames, buffer.size_bytes, files(tmp_path)) == (0, 0, [])


def test_a_next_process_goes_on_where_the_last_one_was_killed(tmp_path: Path) -> None:
    killed = spool(tmp_path)
    killed.append([frame(number) for number in range(20)])
    killed.done([one.place for one in killed.take(5, 1 << 30)])
    os.close(killed._lock)  # all that the system does for a process that is killed
    buffer = spool(tmp_path)
    assert buffer.frames == 15
    buffer.append([frame(20)])
    assert numbers(buffer.take(99, 1 << 30)) == list(range(5, 21))
    assert lost(buffer.losses()) == (0, 0, 0)


@pytest.mark.parametrize("cut", [1, 5000, len(BODY) + 200])
def test_a_torn_frame_at_the_end_is_passed_over_and_counted(tmp_path: Path, cut: int) -> None:
    buffer = spool(tmp_path)
    buffer.append([frame(number) for number in range(5)])
    buffer.close()
    (path,) = files(tmp_path)
    os.truncate(path, path.stat().st_size - cut)
    buffer = spool(tmp_path)
    assert lost(buffer.losses()) == (0, 0, 1)
    buffer.append([frame(9)])
    assert numbers(buffer.take(99, 1 << 30)) == [0, 1, 2, 3, 9]


@pytest.mark.parametrize("place", ["picture", "mark", "size"])
def test_damage_in_the_middle_costs_no_frame_but_its_own(tmp_path: Path, place: str) -> None:
    buffer = spool(tmp_path)
    buffer.append([frame(number) for number in range(5)])
    buffer.close()
    (path,) = files(tmp_path)
    content = bytearray(path.read_bytes())
    second = len(content) // 5
    content[second + {"picture": 3000, "mark": 0, "size": 10}[place]] ^= 0xFF
    path.write_bytes(content)
    buffer = spool(tmp_path)
    taken = buffer.take(99, 1 << 30)
    assert numbers(taken) == [0, 2, 3, 4]
    assert buffer.losses().damaged == 1
    buffer.done([one.place for one in taken])
    assert buffer.take(99, 1 << 30) == []
    assert buffer.frames == 0


def test_files_that_are_no_frames_hide_nothing_and_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not ours")
    (tmp_path / "000000000003.frames").write_bytes(bytes(5000))
    (tmp_path / "000000000007.frames").mkdir()
    buffer = spool(tmp_path)
    buffer.append([frame(1)])
    assert numbers(buffer.take(9, 1 << 30)) == [1]
    assert (tmp_path / "notes.txt").exists()


def test_under_oldest_what_is_there_stays_and_the_new_is_refused(tmp_path: Path) -> None:
    buffer = spool(tmp_path, max_bytes=20 * len(BODY))
    places = buffer.append([frame(number) for number in range(40)])
    kept = sum(place is not None for place in places)
    assert 15 <= kept < 20
    assert lost(buffer.losses()) == (40 - kept, 0, 0)
    assert numbers(buffer.take(99, 1 << 30)) == list(range(kept))
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 20 * len(BODY)


def test_under_newest_the_oldest_make_room_except_those_under_way(tmp_path: Path) -> None:
    buffer = spool(tmp_path, max_bytes=20 * len(BODY), keep="newest")
    buffer.append([frame(number) for number in range(3)])
    taken = buffer.take(1, 1 << 30)
    buffer.hold([one.place for one in taken])
    buffer.append([frame(number) for number in range(3, 60)])
    buffer.release([one.place for one in taken])
    buffer.done([one.place for one in taken])
    left = numbers(buffer.take(99, 1 << 30))
    assert left[-1] == 59
    newest = [number for number in left if number > 3]
    assert newest == list(range(newest[0], 60))
    assert lost(buffer.losses()) == (60 - 1 - len(left), 0, 0)


def test_a_frame_larger_than_the_whole_buffer_costs_no_other(tmp_path: Path) -> None:
    buffer = spool(tmp_path, max_bytes=4 * len(BODY), keep="newest")
    places = buffer.append([frame(1), frame(2, BODY * 5), frame(3)])
    assert [place is not None for place in places] == [True, False, True]
    assert lost(buffer.losses()) == (1, 0, 0)


def test_a_full_disk_costs_what_it_has_no_room_for_and_no_more(tmp_path: Path) -> None:
    buffer = spool(tmp_path, max_bytes=4 << 20)
    buffer.append([frame(1)])
    with largest_file(3 * len(BODY)):
        places = buffer.append([frame(2), frame(3, BODY * 4), frame(4)])
    losses = buffer.losses()
    assert [place is not None for place in places] == [True, False, True]
    assert losses.disk_failed == 1
    assert str(tmp_path) in losses.problem
    buffer.append([frame(5)])
    assert numbers(buffer.take(99, 1 << 30)) == [1, 2, 4, 5]
    buffer.close()
    assert spool(tmp_path).frames == 4


def test_frames_are_done_also_where_the_disk_does_not_take_their_marks(tmp_path: Path) -> None:
    buffer = spool(tmp_path)
    buffer.append([frame(number) for number in range(4)])
    taken = buffer.take(2, 1 << 30)
    with largest_file(0):
        for _ in range(2):
            buffer.done([one.place for one in taken])
            assert buffer.frames == 2
            assert numbers(buffer.take(99, 1 << 30)) == [2, 3]
    assert str(tmp_path) in buffer.losses().problem
    buffer.done([one.place for one in buffer.take(99, 1 << 30)])
    assert (buffer.frames, buffer.take(99, 1 << 30)) == (0, [])


def test_frames_of_a_disk_that_has_become_read_only_are_sent_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = spool(tmp_path)
    buffer.append([frame(number) for number in range(3)])
    buffer.close()
    opened = os.open

    def read_only(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR and path.suffix == ".frames":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", read_only)
    buffer = spool(tmp_path)
    for left in (3, 2, 1):
        taken = buffer.take(1, 1 << 30)
        assert numbers(taken) == [3 - left]
        assert buffer.frames == left
        buffer.done([taken[0].place])
    assert (buffer.frames, buffer.take(1, 1 << 30)) == (0, [])
    losses = buffer.losses()
    assert lost(losses) == (0, 0, 0)
    assert "Read-only file system" in losses.problem


def test_files_that_can_not_be_opened_for_now_are_not_lost(tmp_path: Path) -> None:
    buffer = spool(tmp_path, max_bytes=800_000)
    buffer.append([frame(number) for number in range(30)])
    buffer.close()
    buffer = spool(tmp_path, max_bytes=800_000)
    with no_file_more():
        assert buffer.take(99, 1 << 30) == []
        losses = buffer.losses()
    assert lost(losses) == (0, 0, 0)
    assert "Too many open files" in losses.problem
    assert buffer.frames == 30
    assert numbers(buffer.take(99, 1 << 30)) == list(range(30))


def test_a_part_of_the_disk_is_left_to_others(tmp_path: Path) -> None:
    usage = os.statvfs(tmp_path)
    buffer = spool(tmp_path, leave_bytes=usage.f_blocks * usage.f_frsize)
    assert buffer.append([frame(1)]) == [None]
    losses = buffer.losses()
    assert losses.disk_failed == 1
    assert "are free" in losses.problem


def test_files_taken_away_while_it_runs_are_missed_and_frames_go_on(tmp_path: Path) -> None:
    buffer = spool(tmp_path, max_bytes=800_000)
    buffer.append([frame(number) for number in range(30)])
    buffer.close()
    buffer = spool(tmp_path, max_bytes=800_000)
    files(tmp_path)[0].unlink()
    taken = buffer.take(99, 1 << 30)
    missed = buffer.losses().damaged
    assert missed > 0
    assert numbers(taken) == list(range(missed, 30))
    buffer.append([frame(30)])
    assert buffer.frames == 31 - missed


def test_one_folder_is_for_one_at_a_time(tmp_path: Path) -> None:
    first = spool(tmp_path)
    with pytest.raises(OSError):  # noqa: PT011 - whichever the system says
        spool(tmp_path)
    first.close()
    spool(tmp_path)
