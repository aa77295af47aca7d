import asyncio

import pytest

from framemesh.waiting import Backoff, backed_off, happens, jittered, until_set


async def test_an_event_ends_the_wait_and_so_does_the_time() -> None:
    event = asyncio.Event()
    assert not await happens(event, within=0.01)
    asyncio.get_running_loop().call_soon(event.set)
    assert await happens(event, within=3600)
    assert await happens(event, within=-1)  # it has happened: there is nothing to wait for


async def test_what_has_no_end_is_ended_by_the_event_or_by_the_error_of_one() -> None:
    event, ended = asyncio.Event(), []

    async def endless(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def broken() -> None:
        raise ValueError("mine")

    asyncio.get_running_loop().call_soon(event.set)
    await until_set(event, endless("a"), endless("b"))
    assert sorted(ended) == ["a", "b"]
    with pytest.raises(ExceptionGroup) as group:
        await until_set(asyncio.Event(), endless("c"), broken())
    assert [str(error) for error in group.value.exceptions] == ["mine"]
    assert ended[-1] == "c"


def test_jitter_takes_up_to_half() -> None:
    found = [jittered(4.0) for _ in range(100)]
    assert all(2.0 <= seconds <= 4.0 for seconds in found)
    assert len(set(found)) > 1


def test_waits_between_tries_double_up_to_the_longest_and_begin_anew_once_it_worked() -> None:
    backoff = Backoff(1.0, 5.0)
    waits = [backoff.next_seconds() for _ in range(6)]
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, (1, 2, 4, 5, 5, 5), strict=True))
    backoff.reset()
    assert 0.5 <= backoff.next_seconds() <= 1


def test_whatever_has_failed_for_days_waits_as_long_as_may_be() -> None:
    assert 30.0 <= backed_off(100_000, 1.0, 60.0) <= 60.0
