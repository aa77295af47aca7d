"""How many processor cores this process may use."""

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(cgroups: Path = CGROUPS) -> int:
    """The cores that the scheduler and the container's CPU limit leave to this process, at least 1.

    A core that is only half ours still runs one worker, so it counts.
    """
    scheduled = len(os.sched_getaffinity(0))
    quota = cpu_quota(cgroups)
    return scheduled if quota is None else max(1, min(scheduled, -(-quota[0] // quota[1])))


def cpu_quota(cgroups: Path) -> tuple[int, int] | None:
    """The container's CPU time and the period that it is for, in microseconds; None where there is no limit.

    Of cgroup v2 (`cpu.max`), else of v1 (`cpu/cpu.cfs_quota_us` and its period), where -1 means no limit.
    """
    try:
        words = (cgroups / "cpu.max").read_text().split()
    except OSError:
        words = []
        for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"):
            try:
                words.append((cgroups / "cpu" / name).read_text().strip())
            except OSError:
                return None
    try:
        quota, period = (int(word) for word in words)
    except ValueError:  # `max`
        return None
    return (quota, period) if quota > 0 and period > 0 else None
