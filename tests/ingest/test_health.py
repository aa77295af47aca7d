from prometheus_client import CollectorRegistry

from ingest.health import CameraHealth, EventKind, LineState, Rate, SourceState
from ingest.metrics import IngestMetrics
from tests.ingest.watching import value


def kinds(health: CameraHealth) -> list[EventKind]:
    return [event.kind for event in health.events()]


def test_a_camera_that_is_lost_and_comes_back_says_each_once(
    metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    health = CameraHealth("gate", metrics, clock_ns=lambda: 7)
    health.captured(1_000_000_000)
    health.captured(2_000_000_000)
    for _ in range(3):
        health.failed("no route to the camera")
    assert value(registry, "framemesh_ingest_source_up", camera="gate") == 0
    assert (health.source, health.last_error, health.last_error_ns) == (SourceState.LOST, "no route to the camera", 7)
    health.reconnected()
    health.captured(3_000_000_000)
    assert kinds(health) == [EventKind.CONNECTED, EventKind.LOST, EventKind.RECOVERED]
    assert kinds(health) == []
    assert value(registry, "framemesh_ingest_source_up", camera="gate") == 1
    assert value(registry, "framemesh_ingest_captured_frames_total", camera="gate") == 3
    assert value(registry, "framemesh_ingest_source_reconnects_total", camera="gate") == 1
    assert value(registry, "framemesh_ingest_source_errors_total", camera="gate") == 3
    assert value(registry, "framemesh_ingest_newest_captured_timestamp_seconds", camera="gate") == 3


def test_a_stall_is_counted_once_until_a_picture_comes(metrics: IngestMetrics, registry: CollectorRegistry) -> None:
    health = CameraHealth("gate", metrics)
    for seconds in (10, 20, 30):
        health.stalled(seconds)
        assert value(registry, "framemesh_ingest_source_up", camera="gate") == 0
    health.captured(1)
    assert kinds(health) == [EventKind.STALLED, EventKind.RECOVERED]
    assert value(registry, "framemesh_ingest_source_stalls_total", camera="gate") == 1


def test_frames_that_wait_and_frames_that_are_dropped_are_told_of_once_a_spell(metrics: IngestMetrics) -> None:
    health = CameraHealth("gate", metrics)
    for _ in range(2):
        health.holding("not connected to NATS")
        health.dropped(1, "the buffer is full")
    assert (health.line, health.dropped_count) == (LineState.SPILLING, 2)
    health.holding("not permitted", refused=True)
    health.sending()
    health.sending()
    assert kinds(health) == [EventKind.SPILLING, EventKind.DROPPED, EventKind.REFUSED, EventKind.DRAINED]


def test_of_very_many_events_the_newest_stay(metrics: IngestMetrics) -> None:
    health = CameraHealth("gate", metrics)
    for _ in range(1000):
        health.failed("gone")
        health.captured(1)
    assert len(health.events()) == 256


def test_a_rate_counts_whole_seconds_and_falls_to_zero() -> None:
    now = 100.0
    rate = Rate(clock=lambda: now)
    assert rate.now() == 0
    for tick in range(30):
        now = 100.0 + tick / 10
        rate.count()
    now = 103.0
    assert rate.now() == 10
    now = 120.0
    assert rate.now() == 0
