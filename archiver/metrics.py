"""Every metric that the archiver exports."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class ArchiverMetrics:
    """Made once and handed down."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rows = Counter(
            "framemesh_archiver_rows_total", "Rows written to the lake's tables.", ["table"], registry=registry
        )
        self.foreign = Counter(
            "framemesh_archiver_foreign_messages_total",
            "Messages passed over because they are none that framemesh writes.",
            ["table"],
            registry=registry,
        )
        self.files = Counter(
            "framemesh_archiver_files_total",
            "Files written, by whether they hold new rows or merge older files.",
            ["table", "kind"],
            registry=registry,
        )
        self.waiting = Gauge(
            "framemesh_archiver_waiting_messages",
            "Messages in the stream that are not in the table yet.",
            ["table"],
            registry=registry,
        )

        self.deleted_frames = Counter(
            "framemesh_archiver_deleted_frames_total",
            "Frames deleted because they need not be kept any longer.",
            ["camera"],
            registry=registry,
        )
        self.deleted_bytes = Counter(
            "framemesh_archiver_deleted_bytes_total", "Bytes of the frames deleted.", ["camera"], registry=registry
        )
        self.kept_bytes = Gauge(
            "framemesh_archiver_kept_bytes",
            "Bytes of the frames kept of a camera whose limit is in bytes.",
            ["camera"],
            registry=registry,
        )

    def start_table(self, table: str) -> None:
        """Show a table's values from zero."""
        for kind in ("new", "merged"):
            self.files.labels(table, kind)
        for metric in (self.rows, self.foreign, self.waiting):
            metric.labels(table)
