import os
from pathlib import Path

import pytest

from model_server.cores import cpu_quota, usable_cores

SCHEDULED = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "quota"),
    [("200000 100000\n", (200000, 100000)), ("max 100000\n", None), ("", None), ("nonsense", None), ("0 0", None)],
)
def test_a_limit_of_cgroup_v2_is_read(tmp_path: Path, text: str, quota: tuple[int, int] | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(tmp_path) == quota


@pytest.mark.parametrize(("text", "quota"), [("50000\n", (50000, 100000)), ("-1\n", None)])
def test_a_limit_of_cgroup_v1_is_read(tmp_path: Path, text: str, quota: tuple[int, int] | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(text)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path) == quota


@pytest.mark.parametrize(
    ("text", "cores"), [("10000 100000", 1), ("100000 100000", 1), ("150000 100000", min(2, SCHEDULED))]
)
def test_a_part_of_a_core_counts_as_one(tmp_path: Path, text: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path) == cores


def test_without_a_limit_the_scheduler_decides(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == SCHEDULED
