"""Every metric that the gateway exports. docs/reference.md has the table."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from framemesh.telemetry import bounds
from framemesh.v1.model_pb2 import ModelSpec

_SECONDS = bounds.seconds(0.001, 10)
_LONG_SECONDS = bounds.seconds(0.001, 300)

FRAME_OUTCOMES = ("stored", "dead_lettered", "put_off")
MODEL_OUTCOMES = ("succeeded", "failed", "skipped")
CALL_OUTCOMES = ("succeeded", "failed")
SHED_LIMITS = ("images", "bytes", "streams")
DENIED_REASONS = ("UNAUTHENTICATED", "PERMISSION_DENIED")
REPLAY_OUTCOMES = ("succeeded", "failed", "gone")


class GatewayMetrics:
    """Made once and handed down."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.frames = Counter(
            "framemesh_gateway_frames_total",
            "Frames taken from the stream, by how they ended; one that is put off comes again.",
            ["camera", "outcome"],
            registry=registry,
        )
        self.frame_bytes = Counter(
            "framemesh_gateway_stored_bytes_total", "Bytes of frames stored.", ["camera"], registry=registry
        )
        self.store_seconds = Histogram(
            "framemesh_gateway_store_duration_seconds",
            "From taking a frame from the stream until it left it: stored, referred to and synced.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.stored_age_seconds = Histogram(
            "framemesh_gateway_stored_age_seconds",
            "From the moment that NATS accepted a frame until it was stored, by their clocks.",
            buckets=_LONG_SECONDS,
            registry=registry,
        )
        self.storing = Gauge("framemesh_gateway_storing_frames", "Frames being stored now.", registry=registry)
        self.storing_bytes = Gauge(
            "framemesh_gateway_storing_bytes", "Memory taken by frames being stored now.", registry=registry
        )
        self.waiting = Gauge(
            "framemesh_gateway_waiting_frames",
            "Frames in NATS that are not stored yet; every gateway of a mesh tells the same.",
            registry=registry,
        )
        self.waiting_bytes = Gauge(
            "framemesh_gateway_waiting_bytes", "Bytes of the frames in NATS that are not stored yet.", registry=registry
        )
        self.waiting_limit_bytes = Gauge(
            "framemesh_gateway_waiting_limit_bytes",
            "Bytes of frames that NATS may hold; when they are there, it refuses new ones.",
            registry=registry,
        )
        self.waiting_seconds = Gauge(
            "framemesh_gateway_waiting_oldest_seconds",
            "Age of the frame that has waited longest to be stored; 0 where none waits.",
            registry=registry,
        )
        self.stream_messages = Gauge(
            "framemesh_gateway_stream_messages",
            "Messages in each stream that keeps the newest; every gateway of a mesh tells the same.",
            ["stream"],
            registry=registry,
        )
        self.stream_bytes = Gauge(
            "framemesh_gateway_stream_bytes", "Bytes of such a stream's messages.", ["stream"], registry=registry
        )
        self.stream_limit_bytes = Gauge(
            "framemesh_gateway_stream_limit_bytes",
            "Bytes that such a stream may hold; beyond them its oldest messages go.",
            ["stream"],
            registry=registry,
        )
        self.held_bytes = Gauge(
            "framemesh_gateway_held_bytes", "Memory taken by frames just stored.", registry=registry
        )
        self.answers = Counter(
            "framemesh_gateway_model_frames_total",
            "Stored frames by model and by how the model's work on them ended.",
            ["model", "outcome"],
            registry=registry,
        )
        self.shadow_answers = Counter(
            "framemesh_gateway_shadow_frames_total",
            "Stored frames by model that is a shadow and by how its work on them ended; nobody was told its answers.",
            ["model", "outcome"],
            registry=registry,
        )
        self.lake_reads = Counter(
            "framemesh_gateway_lake_reads_total",
            "Frames that a model had to read from the lake, because memory no longer held them.",
            ["model"],
            registry=registry,
        )
        self.retries = Counter(
            "framemesh_gateway_model_retries_total",
            "Frames sent to a model again after a passing error.",
            ["model"],
            registry=registry,
        )
        self.latency_seconds = Histogram(
            "framemesh_gateway_model_latency_seconds",
            "From sending a frame to a model until its answer came.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.staleness_seconds = Histogram(
            "framemesh_gateway_model_staleness_seconds",
            "Age of a frame, since it was taken, when its answer came.",
            ["model"],
            buckets=_LONG_SECONDS,
            registry=registry,
        )
        self.replicas = Gauge(
            "framemesh_gateway_model_replicas", "Live servers of a model that answer.", ["model"], registry=registry
        )
        self.wanted_replicas = Gauge(
            "framemesh_gateway_model_wanted_replicas",
            "Servers of a model that are asked for.",
            ["model"],
            registry=registry,
        )
        self.model_info = Gauge(
            "framemesh_gateway_model_info",
            "1 for each deployed model, with its policy: every, latest or max_fps, and whether it is a shadow.",
            ["model", "policy", "shadow"],
            registry=registry,
        )
        self.model_waiting = Gauge(
            "framemesh_gateway_model_waiting_frames",
            "Stored frames that a model has yet to settle; every gateway of a mesh tells the same.",
            ["model"],
            registry=registry,
        )
        self.images_at_once = Gauge(
            "framemesh_gateway_model_images_at_once",
            "Images that this gateway has at a model's servers at once at most, as they are now.",
            ["model"],
            registry=registry,
        )
        self.in_flight = Gauge(
            "framemesh_gateway_model_in_flight_images",
            "Images that this gateway has at a model's servers now.",
            ["model"],
            registry=registry,
        )
        self.servers_away = Gauge(
            "framemesh_gateway_model_servers_away",
            "Servers of a model that say they serve and get no images, as a connection or a health check failed.",
            ["model"],
            registry=registry,
        )
        self.calls = Counter(
            "framemesh_gateway_analyze_total",
            "Images that clients asked about, by model and by how the model's work on them ended.",
            ["model", "outcome"],
            registry=registry,
        )
        self.call_images = Gauge(
            "framemesh_gateway_analyze_images", "Images that clients' calls hold now.", registry=registry
        )
        self.call_bytes = Gauge(
            "framemesh_gateway_analyze_bytes", "Bytes of images that clients' calls hold now.", registry=registry
        )
        self.shed = Counter(
            "framemesh_gateway_analyze_shed_total",
            "Images, and streams of them, refused unseen because clients' calls held as much as they may.",
            ["limit"],
            registry=registry,
        )
        for limit in SHED_LIMITS:
            self.shed.labels(limit)
        self.denied = Counter(
            "framemesh_gateway_denied_calls_total",
            "Calls refused for want of a token, or because the token's role does not reach so far.",
            ["reason"],
            registry=registry,
        )
        for reason in DENIED_REASONS:
            self.denied.labels(reason)
        self.replayed = Counter(
            "framemesh_gateway_replayed_frames_total",
            "Frames of the past that replays ran a model over, by how that ended; gone frames are in no lake any more.",
            ["model", "outcome"],
            registry=registry,
        )
        self.certificate_expiry = Gauge(
            "framemesh_gateway_certificate_expiry_timestamp_seconds",
            "When the certificate ends that callers are shown now; 0 where the gateway speaks plain text.",
            registry=registry,
        )
        self.missed_results = Counter(
            "framemesh_gateway_watch_missed_results_total",
            "Results that a watching client read too slowly to get.",
            registry=registry,
        )

    def start_camera(self, camera: str) -> None:
        """Show a camera's counters from zero."""
        for outcome in FRAME_OUTCOMES:
            self.frames.labels(camera, outcome)

    def start_model(self, model: str, *, shadow: bool) -> None:
        """Show a model's counters from zero."""
        for outcome in MODEL_OUTCOMES:
            self._frames(shadow=shadow).labels(model, outcome)
        for outcome in REPLAY_OUTCOMES:
            self.replayed.labels(model, outcome)
        for outcome in CALL_OUTCOMES:
            self.calls.labels(model, outcome)
        for metric in (self.retries, self.lake_reads, self.latency_seconds, self.staleness_seconds):
            metric.labels(model)

    def show_models(self, specs: Iterable[ModelSpec]) -> None:
        """Show what is wanted of the models that are deployed now."""
        self.model_info.clear()
        for spec in specs:
            self.wanted_replicas.labels(spec.name).set(spec.replicas)
            policy = spec.policy.WhichOneof("policy") or "latest"
            self.model_info.labels(spec.name, policy, str(spec.shadow).lower()).set(1)

    def count(self, model: str, outcome: str, *, shadow: bool) -> None:
        """Count a stored frame that a model is done with."""
        self._frames(shadow=shadow).labels(model, outcome).inc()

    def _frames(self, *, shadow: bool) -> Counter:
        return self.shadow_answers if shadow else self.answers

    def end_model(self, model: str) -> None:
        """Forget the gauges of a model that is gone; its counters stay, as Prometheus expects."""
        for metric in (
            self.replicas, self.wanted_replicas, self.model_waiting, self.images_at_once, self.in_flight,
            self.servers_away,
        ):  # fmt: skip
            metric.remove_by_labels({"model": model})
