"""How many processor cores this process may use."""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """The cores that the scheduler and the container's CPU limit leave to this process, at least 1."""
    scheduled = len(os.sched_getaffinity(0))
    try:
        return min(scheduled, cores_of_quota(_QUOTA.read_text()))
    except (OSError, ValueError):  # no cgroup v2 here, or no limit
        return scheduled


def cores_of_quota(text: str) -> int:
    """The whole cores of a cgroup's `cpu.max`, such as 2 of `150000 100000`; at least 1.

    A core that is only half ours still runs one worker, so it counts.

    Raises:
        ValueError: There is no limit (`max`), or the text is none of a cgroup's.
    """
    quota, period = (int(part) for part in text.split())
    return max(1, -(-quota // period))
