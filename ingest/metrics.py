"""Every metric that camera agents export."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from framemesh.telemetry import bounds

OUTCOMES = (
    "published", "late", "untimed", "unchanged", "refused", "disk_failed", "damaged", "cut", "too_large", "unreadable",
)  # fmt: skip


class IngestMetrics:
    """Made once and handed down."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.frames = Counter(
            "framemesh_ingest_frames_total",
            "Frames that were due, by how they ended: published; late, where the source or this machine was too slow; "
            "untimed, before the camera told its time; unchanged, hardly different from the last one sent; "
            "refused, as many as may be were waiting for NATS; disk_failed, had to wait on a disk full or broken; "
            "damaged while waiting; cut by a stop, without a disk to wait on; too_large; unreadable.",
            ["camera", "outcome"],
            registry=registry,
        )
        self.publish_seconds = Histogram(
            "framemesh_ingest_publish_duration_seconds",
            "From capture until JetStream had the frame on disk, with every retry.",
            ["camera"],
            buckets=bounds.seconds(0.001, 60),
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
        self.captured = Counter(
            "framemesh_ingest_captured_frames_total",
            "Pictures that the source gave.",
            ["camera"],
            registry=registry,
        )
        self.newest_captured = Gauge(
            "framemesh_ingest_newest_captured_timestamp_seconds",
            "Capture time of the newest picture that the source gave; 0 before the first.",
            ["camera"],
            registry=registry,
        )
        self.source_up = Gauge(
            "framemesh_ingest_source_up",
            "1 while the source gives pictures; 0 before the first, and while it is lost or has stalled.",
            ["camera"],
            registry=registry,
        )
        self.reconnects = Counter(
            "framemesh_ingest_source_reconnects_total",
            "Times that the source was opened again after it was lost or had stalled.",
            ["camera"],
            registry=registry,
        )
        self.stalls = Counter(
            "framemesh_ingest_source_stalls_total",
            "Times that the source was open and gave nothing for longer than it may.",
            ["camera"],
            registry=registry,
        )
        self.source_errors = Counter(
            "framemesh_ingest_source_errors_total",
            "Failed tries to open or read the source.",
            ["camera"],
            registry=registry,
        )
        self.spilled = Counter(
            "framemesh_ingest_spilled_frames_total",
            "Frames that went into the buffer because NATS could not take them at once.",
            ["camera"],
            registry=registry,
        )
        self.buffered_frames = Gauge(
            "framemesh_ingest_buffered_frames",
            "Frames in the buffer, waiting for NATS.",
            ["camera"],
            registry=registry,
        )
        self.buffered_bytes = Gauge(
            "framemesh_ingest_buffered_bytes",
            "Bytes that the buffer's frames take.",
            ["camera"],
            registry=registry,
        )
        self.reencoded = Counter(
            "framemesh_ingest_reencoded_frames_total",
            "Frames that were encoded smaller because NATS takes no message of their size.",
            ["camera"],
            registry=registry,
        )
        self.cameras_file_refused = Gauge(
            "framemesh_ingest_cameras_file_refused",
            "1 while the file of cameras can't be used as it is now, and the cameras that it described before run on.",
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
        for metric in (
            self.publish_seconds, self.retries, self.in_flight, self.newest_published, self.captured,
            self.newest_captured, self.source_up, self.reconnects, self.stalls, self.source_errors, self.spilled,
            self.buffered_frames, self.buffered_bytes, self.reencoded,
        ):  # fmt: skip
            metric.labels(camera)

    def forget_camera(self, camera: str) -> None:
        """Take a camera's values off the page."""
        for metric in vars(self).values():
            if "camera" in metric._labelnames:  # noqa: SLF001 - no other way
                metric.remove_by_labels({"camera": camera})
