from itertools import pairwise

import pytest

from ingest.clocks import CaptureClock

SECOND = 10**9
NOW = 1_800_000_000 * SECOND


def test_our_own_time_is_a_frames_unless_the_cameras_is_asked_for() -> None:
    clock = CaptureClock(by_camera=False)
    assert clock.capture_ns(NOW - 5 * SECOND, arrived_ns=NOW) == NOW
    assert clock.capture_ns(None, arrived_ns=NOW + 1) == NOW + 1


def test_no_frame_is_older_than_the_one_before_though_a_clock_is_set_back() -> None:
    clock = CaptureClock(by_camera=False)
    times = [clock.capture_ns(None, arrived_ns=NOW - number * SECOND) for number in range(5)]
    assert times == [NOW + number for number in range(5)]


def test_the_cameras_time_counts_and_runs_on_between_its_words() -> None:
    clock = CaptureClock(by_camera=True)
    assert clock.capture_ns(NOW - 7 * SECOND, arrived_ns=NOW) == NOW - 7 * SECOND
    assert clock.capture_ns(None, arrived_ns=NOW + SECOND) == NOW - 6 * SECOND
    assert clock.capture_ns(NOW - 4 * SECOND, arrived_ns=NOW + 2 * SECOND) == NOW - 4 * SECOND


def test_frames_before_the_cameras_first_word_have_no_time() -> None:
    clock = CaptureClock(by_camera=True)
    for number in range(5):
        assert clock.capture_ns(None, arrived_ns=NOW + number * SECOND) is None
    assert clock.capture_ns(NOW - 3600 * SECOND, arrived_ns=NOW + 5 * SECOND) == NOW - 3600 * SECOND


@pytest.mark.parametrize("told", [None, 0, NOW - 2 * 86_400 * SECOND, NOW + 2 * 86_400 * SECOND])
def test_a_camera_that_tells_no_time_to_be_believed_gets_ours_for_good(told: int | None) -> None:
    clock = CaptureClock(by_camera=True)
    assert clock.capture_ns(told, arrived_ns=NOW) is None
    assert clock.capture_ns(told, arrived_ns=NOW + 10 * SECOND) == NOW + 10 * SECOND
    assert clock.capture_ns(NOW, arrived_ns=NOW + 11 * SECOND) == NOW + 11 * SECOND


def test_a_camera_whose_clock_is_set_back_does_not_send_frames_back_in_time() -> None:
    clock = CaptureClock(by_camera=True)
    told = [NOW, NOW + SECOND, NOW - 60 * SECOND, NOW - 59 * SECOND, NOW + 2 * SECOND]
    times = [clock.capture_ns(each, arrived_ns=NOW + number * SECOND) for number, each in enumerate(told)]
    known = [time for time in times if time is not None]
    assert len(known) == 5
    assert all(earlier < later for earlier, later in pairwise(known))


def test_what_never_tells_the_time_gets_ours_at_once() -> None:
    clock = CaptureClock(by_camera=True)
    assert clock.capture_ns(None, arrived_ns=NOW, tells_later=False) == NOW


def test_an_old_file_in_a_folder_gets_our_time_and_a_new_one_its_own() -> None:
    clock = CaptureClock(by_camera=True)
    assert clock.capture_ns(NOW - 2 * 86_400 * SECOND, arrived_ns=NOW, tells_later=False) == NOW
    later = NOW + 60 * SECOND
    assert clock.capture_ns(later - SECOND, arrived_ns=later, tells_later=False) == later - SECOND
