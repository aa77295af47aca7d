from prometheus_client import CollectorRegistry

from ingest.metrics import OUTCOMES, IngestMetrics
from tests.ingest.watching import frames, value


def test_known_values_start_at_zero() -> None:
    registry = CollectorRegistry()
    IngestMetrics(registry).start_camera("gate")
    assert [frames(registry, "gate", outcome) for outcome in OUTCOMES] == [0] * len(OUTCOMES)
    for name in (
        "framemesh_ingest_publish_duration_seconds_count",
        "framemesh_ingest_publish_retries_total",
        "framemesh_ingest_in_flight_frames",
        "framemesh_ingest_newest_published_timestamp_seconds",
    ):
        assert value(registry, name, camera="gate") == 0
