import shutil
from pathlib import Path

from prometheus_client import CollectorRegistry

from framemesh.telemetry.disk import DiskMetrics


def test_the_room_of_a_folders_disk_is_looked_up_when_asked(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    DiskMetrics(registry).show("spill", tmp_path / "not" / "yet")
    size = registry.get_sample_value("framemesh_disk_size_bytes", {"disk": "spill"})
    free = registry.get_sample_value("framemesh_disk_free_bytes", {"disk": "spill"})
    assert size == shutil.disk_usage(tmp_path).total
    assert free is not None
    assert 0 < free < size


def test_a_service_without_a_disk_of_its_own_shows_none() -> None:
    registry = CollectorRegistry()
    DiskMetrics(registry)
    assert not [sample for family in registry.collect() for sample in family.samples]
