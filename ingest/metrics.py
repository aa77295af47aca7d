"""Every metric that camera agents export."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

OUTCOMES = ("published", "late", "refused", "too_large", "unreadable")


class IngestMetrics:
    """Made once and handed down."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.frames = Counter(
            "framemesh_ingest_frames_total",
            "Frames that were due, by how they ended: published; late, where the source or this machine was too slow; "
            "refused, as many as may be were waiting for NATS; too_large; unreadable.",
            ["camera", "outcome"],
            registry=registry,
        )
        self.publish_seconds = Histogram(
            "framemesh_ingest_publish_duration_seconds",
            "From capture until JetStream had the frame on disk, with every retry.",
            ["camera"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=registry,
        )
        self.retries = Counter(
            "framemesh_ingest_publish_retries_total",
            "Publishes that failed and were tried again.",
            ["camera"],
            registry=registry,
        )
        self.in_flight = Gauge(
            "framemesh_ingest_in_flight_frames",
            "Frames captured that JetStream has not acknowledged yet.",
            ["camera"],
            registry=registry,
        )
        self.newest_published = Gauge(
            "framemesh_ingest_newest_published_timestamp_seconds",
            "Capture time of the newest frame that JetStream has acknowledged; 0 before the first.",
            ["camera"],
            registry=registry,
        )

    def start_camera(self, camera: str) -> None:
        """Show a camera's values from zero."""
        for outcome in OUTCOMES:
            self.frames.labels(camera, outcome)
        for metric in (self.publish_seconds, self.retries, self.in_flight, self.newest_published):
            metric.labels(camera)
