"""Every metric that the console exports."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from framemesh.telemetry import bounds


class ConsoleMetrics:
    """Made once and handed down."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.watchers = Gauge(
            "framemesh_console_watchers", "Browsers that watch cameras at this moment.", registry=registry
        )
        self.refused = Counter(
            "framemesh_console_refused_requests_total",
            "Requests that the guard refused, by what was wrong: host, origin, size, session.",
            ["reason"],
            registry=registry,
        )
        self.logins = Counter(
            "framemesh_console_logins_total", "Tries to log in, by how they ended.", ["outcome"], registry=registry
        )
        self.picture_seconds = Histogram(
            "framemesh_console_picture_duration_seconds",
            "Making a small picture of a frame.",
            buckets=bounds.seconds(0.001, 1),
            registry=registry,
        )
        self.certificate_expiry = Gauge(
            "framemesh_console_certificate_expiry_timestamp_seconds",
            "When the certificate ends that browsers are shown now; 0 where the pages are served in plain text.",
            registry=registry,
        )
        for reason in ("host", "origin", "size", "session"):
            self.refused.labels(reason)
        for outcome in ("succeeded", "refused", "too_many"):
            self.logins.labels(outcome)
