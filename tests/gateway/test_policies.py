import pytest

from framemesh.specs import parse_policy
from gateway.policies import EveryQueue, LatestQueue, Waiting, queue_for

MS = 1_000_000
START = 1_767_225_600_000 * MS


def frame(camera: str, at_ms: int) -> Waiting[int]:
    """A frame taken and stored so long after the start; its place follows from that."""
    return Waiting(camera, START + at_ms, START + at_ms * MS, START + at_ms * MS, at_ms)


def test_every_keeps_the_order_and_skips_nothing() -> None:
    queue: EveryQueue[int] = EveryQueue()
    frames = [frame("a", 0), frame("b", 5), frame("a", 3)]
    assert [queue.offer(each) for each in frames] == [[], [], []]
    assert [queue.take(), queue.take(), queue.take(), queue.take()] == [*frames, None]


def test_every_takes_a_frame_back_as_the_first() -> None:
    queue: EveryQueue[int] = EveryQueue()
    queue.offer(frame("a", 1))
    assert queue.restore(frame("a", 0)) == []
    assert queue.take() == frame("a", 0)


def test_latest_keeps_the_newest_of_each_camera_and_tells_what_it_passed_over() -> None:
    queue: LatestQueue[int] = LatestQueue()
    assert queue.offer(frame("a", 0)) == []
    assert queue.offer(frame("b", 0)) == []
    assert queue.offer(frame("a", 33)) == [frame("a", 0)]
    assert len(queue) == 2
    assert queue.take() == frame("a", 33)  # a keeps its turn
    assert queue.take() == frame("b", 0)
    assert queue.take() is None


def test_cameras_take_turns() -> None:
    queue: LatestQueue[int] = LatestQueue()
    for round_ms in range(0, 99, 33):
        for camera in "abc":
            queue.offer(frame(camera, round_ms))
    taken = []
    for at_ms in range(100, 103):
        taken.append(queue.take())
        queue.offer(frame("a", at_ms))  # a busy camera gets no second turn before the others had theirs
    assert [each.camera for each in taken if each] == ["a", "b", "c"]


def test_latest_passes_over_what_comes_late() -> None:
    queue: LatestQueue[int] = LatestQueue()
    queue.offer(frame("a", 33))
    assert queue.offer(frame("a", 0)) == [frame("a", 0)]
    assert queue.take() == frame("a", 33)
    assert queue.offer(frame("a", 32)) == [frame("a", 32)]
    assert queue.offer(frame("a", 33)) == [frame("a", 33)]  # delivered again


def test_latest_takes_a_frame_back_only_while_it_is_the_newest() -> None:
    queue: LatestQueue[int] = LatestQueue()
    queue.offer(frame("a", 0))
    taken = queue.take()
    assert taken is not None
    assert queue.restore(taken) == []
    assert queue.take() == taken
    queue.offer(frame("a", 33))
    assert queue.restore(taken) == [taken]
    queue.take()
    assert queue.restore(taken) == [taken]


@pytest.mark.parametrize(
    ("fps", "expected"), [(10.0, 100), (30.0, 300), (20.0, 200), (7.0, 70), (0.5, 5), (100.0, 300)]
)
def test_fps_thins_out_to_the_asked_rate_whatever_the_jitter(fps: float, expected: int) -> None:
    queue: LatestQueue[int] = LatestQueue(fps)
    taken = skipped = 0
    for number in range(300):  # ten seconds at 30 frames a second, each up to 4 ms early or late
        skipped += len(queue.offer(frame("a", round(number * 1000 / 30) + (number * 7919) % 9 - 4)))
        taken += queue.take() is not None
    assert taken == pytest.approx(expected, abs=2)
    assert taken + skipped == 300


def test_a_clock_that_was_set_back_silences_no_camera() -> None:
    queue: LatestQueue[int] = LatestQueue(10.0)
    queue.offer(Waiting("a", 1, START + 3600_000 * MS, START + 3600_000 * MS, 0))
    queue.take()
    assert queue.offer(Waiting("a", 2, START, START, 1)) == []
    assert queue.take() is not None
    assert queue.offer(Waiting("a", 3, START + 50 * MS, START + 50 * MS, 2)) != []  # and the rate holds again
    assert queue.offer(Waiting("a", 4, START + 100 * MS, START + 100 * MS, 3)) == []


def test_frames_that_changed_places_while_being_stored_are_seen_in_the_order_of_their_taking() -> None:
    queue: LatestQueue[int] = LatestQueue()
    queue.offer(Waiting("a", 1, START + 33 * MS, START + 40 * MS, 1))
    earlier = Waiting("a", 2, START, START + 41 * MS, 0)
    assert queue.offer(earlier) == [earlier]


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
def test_a_cameras_clock_that_was_set_silences_it_not(jump_ms: int) -> None:
    queue: LatestQueue[int] = LatestQueue()
    queue.offer(Waiting("a", 1, START + jump_ms * MS, START, 0))
    queue.take()
    for sequence in (2, 3):
        assert queue.offer(Waiting("a", sequence, START + sequence * MS, START + sequence * MS, sequence)) == []
        assert queue.take() is not None


def test_policies_have_their_queues() -> None:
    assert isinstance(queue_for(parse_policy("every")), EveryQueue)
    assert isinstance(queue_for(parse_policy("latest")), LatestQueue)
    assert isinstance(queue_for(parse_policy("fps=5")), LatestQueue)
