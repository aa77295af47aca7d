from itertools import pairwise

import pytest

from ingest.rates import FpsCap, Lag


def admitted(cap: FpsCap, times: list[float]) -> list[float]:
    return [at for at in times if cap.admits(at)]


@pytest.mark.parametrize(("fps", "cap"), [(25, 10), (30, 15), (60, 7.5), (25, 24), (30, 0.5)])
def test_no_more_pass_than_are_asked_for(fps: float, cap: float) -> None:
    times = admitted(FpsCap(cap), [number / fps for number in range(int(60 * fps))])
    assert len(times) == pytest.approx(60 * cap, abs=2)


@pytest.mark.parametrize(("fps", "cap"), [(25, 10), (30, 15), (60, 20)])
def test_what_passes_is_spread_evenly(fps: float, cap: float) -> None:
    times = admitted(FpsCap(cap), [number / fps for number in range(1000)])[2:]  # the first two have credit
    assert all(later - earlier == pytest.approx(1 / cap, abs=1 / fps) for earlier, later in pairwise(times))


def test_a_source_of_the_very_rate_passes_whole_though_it_comes_unevenly() -> None:
    times = [number / 25 + (0.03 if number % 3 else 0.0) for number in range(1000)]
    assert len(admitted(FpsCap(25), times)) >= 999


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_is_set_makes_up_for_nothing(jump: float) -> None:
    cap = FpsCap(10)
    before = admitted(cap, [number / 10 for number in range(100)])
    after = admitted(cap, [jump + number / 10 for number in range(100)])
    assert len(before) == 100
    assert len(after) == pytest.approx(100, abs=2)


def passed_over(lag: Lag, frames: list[tuple[float, float]], *, gop: int = 10) -> list[int]:
    """Which of the frames, each taken and read at a time, are skipped."""
    return [
        number
        for number, (taken, read) in enumerate(frames)
        if lag.skips(taken_seconds=taken, now_seconds=read, is_key=number % gop == 0)
    ]


def test_a_reader_that_keeps_up_skips_nothing() -> None:
    frames = [(number / 25, 1000 + number / 25 + 0.5 * (number % 2)) for number in range(500)]
    assert passed_over(Lag(), frames) == []


def test_a_reader_that_falls_behind_goes_on_with_a_key_frame() -> None:
    on_time = [(number / 25, number / 25) for number in range(23)]
    late = [(number / 25, number / 25 + 1.5) for number in range(23, 30)]
    caught_up = [(number / 25, number / 25) for number in range(30, 60)]
    assert passed_over(Lag(), [*on_time, *late, *caught_up]) == list(range(23, 30))


def test_a_source_that_is_late_itself_is_got_used_to() -> None:
    frames = [(number / 25, number / 25 + (5.0 if number >= 25 else 0.0)) for number in range(500)]
    assert passed_over(Lag(), frames) == [25, 26, 27, 28, 29]


def test_frames_that_had_waited_when_reading_began_are_not_skipped() -> None:
    waited = [(number / 25, 2.0) for number in range(50)]
    after = [(number / 25, number / 25) for number in range(50, 100)]
    assert passed_over(Lag(), [*waited, *after]) == []
