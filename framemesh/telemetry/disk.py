"""How much room there is on a disk that a service depends on."""

import shutil
from math import nan
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge


class DiskMetrics:
    """Looked up whenever Prometheus asks; not a number where nobody can tell.

    Args:
        registry: Where they show.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.free = Gauge(
            "framemesh_disk_free_bytes",
            "Room on a disk of this machine, by what the service keeps there: the `lake` of `framemesh up`, or frames "
            "that wait for NATS (`spill`).",
            ["disk"],
            registry=registry,
        )
        self.size = Gauge("framemesh_disk_size_bytes", "The size of that disk.", ["disk"], registry=registry)

    def show(self, disk: str, folder: Path) -> None:
        """Show the disk of a folder, which need not be there yet."""
        self.free.labels(disk).set_function(lambda: _usage(folder)[1])
        self.size.labels(disk).set_function(lambda: _usage(folder)[0])


def _usage(folder: Path) -> tuple[float, float]:
    """Bytes in all, and those that are free."""
    try:
        found = shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists()))
    except OSError:
        return nan, nan
    return found.total, found.free
