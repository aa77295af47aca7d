from itertools import pairwise

import pytest

from ingest.pacing import Pace

SECOND = 1_000_000_000


@pytest.mark.parametrize(("fps", "slots", "seconds"), [(30, 30 * 86_400, 86_400), (29.97, 2997, 100), (0.1, 1, 10)])
def test_a_slot_is_due_to_the_nanosecond_however_late_it_comes(fps: float, slots: int, seconds: int) -> None:
    assert Pace.of(fps, start_ns=7).due_ns(slots) == 7 + seconds * SECOND


def test_slots_lie_evenly() -> None:
    due = [Pace.of(30, start_ns=0).due_ns(slot) for slot in range(1000)]
    assert {later - earlier for earlier, later in pairwise(due)} == {33_333_333, 33_333_334}


@pytest.mark.parametrize("fps", [0.5, 24, 29.97, 30, 240])
def test_a_slot_lasts_from_its_time_until_the_next_ones(fps: float) -> None:
    pace = Pace.of(fps, start_ns=123)
    for slot in (5, 1000, 1_000_003):
        assert pace.next_slot(0, pace.due_ns(slot)) == slot
        assert pace.next_slot(0, pace.due_ns(slot + 1) - 1) == slot


def test_in_time_the_next_slot_follows() -> None:
    pace = Pace.of(10, start_ns=0)
    assert pace.next_slot(4, 0) == 5
    assert pace.next_slot(4, pace.due_ns(5) - 1) == 5


def test_missed_slots_are_passed_over() -> None:
    pace = Pace.of(10, start_ns=0)
    assert pace.next_slot(4, pace.due_ns(9) + 1) == 9
