"""Which frame is shown with which answers, and what is kept to choose from."""

from google.protobuf.timestamp_pb2 import Timestamp

from console.live.choosing import Choice, choose
from console.live.recent import MAX_CAMERAS, RecentAnswers, RecentFrames, Said, Shot
from framemesh.v1.answer_pb2 import ModelAnswer
from framemesh.v1.frame_pb2 import Frame

MS = 1_000_000


def shot(at_ms: int, *, camera: str = "gate", size: int = 10) -> Shot:
    return Shot(camera, at_ms * MS, f"{camera}-{at_ms * MS}", b"x" * size)


def said(at_ms: int, model: str = "vit", *, camera: str = "gate", size: int = 10) -> Said:
    return Said(f"{camera}-{at_ms * MS}", at_ms * MS, ModelAnswer(model=model), size)


def newest_first(*at_ms: int) -> list[Shot]:
    return [shot(one) for one in sorted(at_ms, reverse=True)]


def chosen(choice: Choice | None) -> tuple[int, list[int]]:
    """The frame's time and its answers', in milliseconds."""
    assert choice is not None
    return choice.shot.captured_ns // MS, [one.captured_ns // MS for one in choice.said]


def test_without_models_it_is_the_newest() -> None:
    assert chosen(choose(newest_first(100, 200, 300), {})) == (300, [])
    assert choose([], {"vit": [said(100)]}) is None


def test_it_is_the_newest_frame_that_the_model_has_spoken_of() -> None:
    assert chosen(choose(newest_first(100, 200, 300), {"vit": [said(200), said(100)]})) == (200, [200])


def test_of_two_models_it_is_the_newest_that_both_have_spoken_of() -> None:
    answers = {"vit": [said(300), said(200), said(100)], "detr": [said(200, "detr")]}
    assert chosen(choose(newest_first(100, 200, 300, 400), answers)) == (200, [200, 200])


def test_a_model_that_is_far_behind_does_not_hold_the_picture_up() -> None:
    answers = {"vit": [said(1900), said(1100)], "detr": [said(1100, "detr")]}
    assert chosen(choose(newest_first(1100, 1900, 2000), answers)) == (1900, [1900, 1100])


def test_where_no_model_has_spoken_for_two_seconds_it_is_the_newest_with_the_answer_before() -> None:
    assert chosen(choose(newest_first(1000, 3500), {"vit": [said(1000)]})) == (3500, [1000])


def test_pictures_never_go_back() -> None:
    choice = choose(newest_first(100, 200, 300), {"vit": [said(100)]}, not_before_ns=200 * MS)
    assert chosen(choice) == (300, [100])


def test_an_answer_to_a_later_frame_is_not_drawn_on_an_earlier_one() -> None:
    answers = {"vit": [said(200)], "detr": [said(300, "detr"), said(100, "detr")]}
    shots = [shot(200), shot(100)]  # the one of 300 ms was not heard
    assert chosen(choose(shots, answers)) == (200, [200, 100])


def test_frames_are_kept_for_some_seconds_and_some_bytes_and_of_each_camera_the_newest() -> None:
    frames = RecentFrames(max_bytes=100)
    for at_ms in range(0, 9000, 1000):
        frames.add(shot(at_ms), at_ms / 1000)
    assert [one.captured_ns // MS for one in frames.of("gate")] == [8000, 7000, 6000, 5000, 4000]
    frames.add(shot(8000, camera="door", size=80), 8.0)
    assert sum(len(one.body) for name in frames.cameras() for one in frames.of(name)) <= 100
    frames.add(shot(8100, camera="yard", size=90), 8.1)
    assert [len(frames.of(name)) for name in ("gate", "door", "yard")] == [1, 1, 1]
    frames.forget(["door"])
    assert frames.cameras() == ["gate", "yard"]


def test_there_is_room_for_so_many_cameras() -> None:
    frames = RecentFrames(max_bytes=10_000)
    for number in range(MAX_CAMERAS + 5):
        frames.add(shot(1, camera=f"gate-{number}"), 0.0)
    assert len(frames.cameras()) == MAX_CAMERAS


def test_a_rate_is_that_of_the_last_seconds() -> None:
    frames = RecentFrames(max_bytes=10_000)
    for number in range(100):
        frames.add(shot(number), number / 10)
    assert round(frames.fps("gate", 9.9), 1) == 10.0
    assert frames.fps("gate", 30.0) == 0.0
    assert frames.silent_seconds("gate", 12.0) == 12.0 - 9.9
    assert frames.silent_seconds("door", 12.0) is None


def test_a_frame_without_an_id_gets_the_one_of_its_size_and_moment() -> None:
    frames = RecentFrames(max_bytes=10_000)
    for at_ms, size in ((1000, 11), (1100, 12)):
        frames.add(Shot("bare", at_ms * MS, "", b"x" * size), 0.0)
    at = Timestamp()
    at.FromNanoseconds(1010 * MS)
    frames.name(Frame(frame_id="bare-1010000000", camera="bare", size_bytes=11, capture_time=at))
    assert [one.frame_id for one in frames.of("bare")] == ["", "bare-1010000000"]
    assert frames.of("bare")[1].captured_ns == 1010 * MS


def test_answers_are_kept_for_some_seconds_and_some_bytes() -> None:
    answers = RecentAnswers(max_bytes=50)
    for at_ms in (1000, 2000, 3000):
        answers.add("gate", said(at_ms))
    answers.add("gate", said(3000, size=20))  # a retried one takes the first one's place
    assert [one.captured_ns // MS for one in answers.of("gate", "vit")] == [3000, 2000, 1000]
    answers.add("door", said(3100, "detr", camera="door", size=30))
    assert [one.captured_ns // MS for one in answers.of("gate", "vit")] == [3000]
    answers.add("gate", said(9000))
    assert [one.captured_ns // MS for one in answers.of("gate", "vit")] == [9000]
    assert answers.of("gate", "depth") == []
    answers.add("yard", said(1, camera="yard", size=60))
    assert [answers.of(*named) for named in (("gate", "vit"), ("door", "detr"), ("yard", "vit"))] == [[], [], []]


def test_a_camera_whose_clock_is_ahead_takes_no_answers_from_the_others() -> None:
    answers = RecentAnswers(max_bytes=1000)
    for at_ms in (1000, 1100):
        answers.add("gate", said(at_ms))
        answers.add("ahead", said(at_ms + 3_600_000, camera="ahead"))
    assert [one.captured_ns // MS for one in answers.of("gate", "vit")] == [1100, 1000]
    answers.add("ahead", said(1200, camera="ahead"))  # its clock is set right
    assert [one.captured_ns // MS for one in answers.of("ahead", "vit")] == [1200]


def test_an_answer_of_long_ago_is_not_drawn() -> None:
    assert chosen(choose(newest_first(9000), {"vit": [said(1000)]})) == (9000, [])
