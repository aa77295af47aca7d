"""Searches as addresses tell them."""

from datetime import UTC, datetime, timedelta

import pytest
from starlette.datastructures import QueryParams

from console.searching import Search, search_of
from framemesh.finding import Wanted
from framemesh.frames import FrameId

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "search",
    [
        Search(),
        Search(("gate", "yard"), "2h", "2026-01-31T07:30", "a & b = <c>", 0.25, ("vit",)),
        Search(before=FrameId("gate", 1_790_000_000_000_000_000)),
    ],
)
def test_an_address_says_all_of_a_search(search: Search) -> None:
    assert search_of(QueryParams(search.address().partition("?")[2])) == search


def test_what_can_not_be_is_passed_over() -> None:
    forged = "camera=../models&camera=gate&model=A%20B&min_score=nan&before=../etc&label=" + "x" * 1000
    assert search_of(QueryParams(forged)) == Search(cameras=("gate",), label="x" * 200)


def test_times_are_as_commands_take_them() -> None:
    wanted = Search(since="2h", until="2026-02-01T11:30", label="cat").wanted(NOW)
    assert wanted.since == NOW - timedelta(hours=2)
    assert wanted.until == NOW - timedelta(minutes=30)
    assert wanted.by_sight
    assert Search().wanted(NOW) == Wanted()
    assert Search(since="0001-01-01T00:00+09:00", until="9999-12-31T23:59").wanted(NOW) == Wanted()
    assert Search(since="5h", until="5h").wanted(NOW).until == NOW - timedelta(hours=5)
    with pytest.raises(ValueError, match="write how long ago"):
        Search(since="yesterday").wanted(NOW)
    with pytest.raises(ValueError, match="end is before the beginning"):
        Search(since="2h", until="5h").wanted(NOW)
