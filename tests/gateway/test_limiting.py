from gateway.limiting import Limit


def test_a_limit_grows_while_images_hardly_wait_and_only_where_it_is_reached() -> None:
    limit = Limit(2)
    before = limit.value
    for _ in range(20):
        limit.answered(waited=0.0, worked=0.01, in_flight=1)
    assert limit.value == before
    for _ in range(1000):
        limit.answered(waited=0.005, worked=0.01, in_flight=limit.value)
    assert limit.value == 32


def test_a_limit_shrinks_to_one_where_images_wait_long() -> None:
    limit = Limit(4)
    for _ in range(1000):
        limit.answered(waited=0.03, worked=0.01, in_flight=limit.value)
    assert limit.value == 1


def test_a_limit_settles_where_images_wait_about_as_long_as_they_are_worked_on() -> None:
    limit, workers, work = Limit(4), 4, 0.01
    for _ in range(2000):
        waited = max(0, limit.value - workers) / workers * work
        limit.answered(waited=waited, worked=work, in_flight=limit.value)
    assert workers < limit.value <= 3 * workers


def test_refusals_of_one_moment_count_once() -> None:
    limit = Limit(8)
    for _ in range(10):
        limit.refused(100.0)
    assert limit.value == 8
    limit.refused(101.0)
    assert limit.value == 4


def test_a_server_that_was_away_gets_one_image_first() -> None:
    limit = Limit(8)
    limit.restart()
    assert limit.value == 1
