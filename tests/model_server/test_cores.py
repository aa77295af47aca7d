import os

import pytest

from model_server.cores import cores_of_quota, usable_cores


@pytest.mark.parametrize(("text", "cores"), [("200000 100000\n", 2), ("150000 100000", 2), ("10000 100000", 1)])
def test_a_quota_is_counted_in_whole_cores(text: str, cores: int) -> None:
    assert cores_of_quota(text) == cores


def test_no_limit_is_no_quota() -> None:
    with pytest.raises(ValueError, match="max"):
        cores_of_quota("max 100000")


def test_no_more_cores_than_the_scheduler_gives() -> None:
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))
