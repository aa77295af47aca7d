"""Every metric that the model server exports."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from framemesh.errors import DeadlineError, FramemeshError, ModelUnavailableError, QueueFullError
from framemesh.telemetry import bounds, tracing
from model_server.artifacts import Manifest
from model_server.inference import Inferred

OUTCOMES = ("succeeded", "invalid", "refused", "expired", "cancelled", "failed")

_SECONDS = bounds.seconds(0.0005, 10)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class _OfModel:
    """What is counted of one model for each call."""

    requests: dict[str, Counter]
    request_seconds: Histogram
    queue_seconds: Histogram
    preprocess_seconds: Histogram
    inference_seconds: Histogram
    image_inference_seconds: Counter
    postprocess_seconds: Histogram
    batch_images: Histogram


class ModelServerMetrics:
    """Made once and handed down."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "framemesh_model_server_requests_total",
            "Calls of Infer, by how they ended.",
            ["model", "outcome"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "framemesh_model_server_request_duration_seconds",
            "From a call's arrival to its answer, of those that succeeded.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "framemesh_model_server_queue_duration_seconds",
            "An image's wait for a free worker.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.preprocess_seconds = Histogram(
            "framemesh_model_server_preprocess_duration_seconds",
            "Decoding one image and making the model's input of it.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.inference_seconds = Histogram(
            "framemesh_model_server_inference_duration_seconds",
            "Running the model on one batch.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.image_inference_seconds = Counter(
            "framemesh_model_server_image_inference_seconds_total",
            "What images waited for the model to run; each counts its batch as a whole.",
            ["model"],
            registry=registry,
        )
        self.postprocess_seconds = Histogram(
            "framemesh_model_server_postprocess_duration_seconds",
            "Making an answer of one image's outputs.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_images = Histogram(
            "framemesh_model_server_batch_images",
            "How many images ran in one batch.",
            ["model"],
            buckets=_BATCHES,
            registry=registry,
        )
        self.queued_images = Gauge(
            "framemesh_model_server_queued_images", "Images that wait for a worker.", ["model"], registry=registry
        )
        self.load_seconds = Gauge(
            "framemesh_model_server_load_duration_seconds",
            "How long the model took from start to serving: prepared, loaded, warmed up.",
            ["model"],
            registry=registry,
        )
        self.info = Gauge(
            "framemesh_model_server_model_info",
            "1 for the model that is served, with which weights and what runs it.",
            ["model", "version", "runtime", "precision", "task"],
            registry=registry,
        )
        self.fallback = Gauge(
            "framemesh_model_server_fallback",
            "1 where the model runs otherwise than its spec says, as its log explains; else 0.",
            ["model"],
            registry=registry,
        )

        self._models: dict[str, _OfModel] = {}

    def begin(self, model: str) -> None:
        """Show the model's metrics from the start, at zero."""
        self.queued_images.labels(model)
        self._of(model)

    def loaded(self, model: str, manifest: Manifest, *, seconds: float) -> None:
        """Say what is served, and how long it took to come up."""
        self.load_seconds.labels(model).set(seconds)
        self.info.labels(model, manifest.version, manifest.runtime, manifest.precision, manifest.task.name).set(1)
        self.fallback.labels(model).set(bool(manifest.fallback_reason))

    def batch(self, model: str, answered: Sequence[Inferred]) -> None:
        """Take note of a batch; its answers share what it took as a whole."""
        own = self._of(model)
        for one in answered:
            own.queue_seconds.observe(one.queue_seconds)
            own.preprocess_seconds.observe(one.preprocess_seconds)
            own.postprocess_seconds.observe(one.postprocess_seconds)
        if answered:
            own.batch_images.observe(len(answered))
            own.inference_seconds.observe(answered[0].inference_seconds)
            own.image_inference_seconds.inc(sum(one.inference_seconds for one in answered))

    @contextmanager
    def counting(self, model: str, deadline: float) -> Iterator[None]:
        """Count the call that the block answers, by how it ends.

        gRPC cancels a call whose deadline passes; `deadline`, by `time.monotonic`, tells it from one that was given up.
        """
        started = time.monotonic()
        try:
            yield
        except BaseException as error:
            self._of(model).requests[_outcome(error, late=time.monotonic() >= deadline)].inc()
            raise
        own = self._of(model)
        own.requests["succeeded"].inc()
        own.request_seconds.observe(time.monotonic() - started, tracing.exemplar())

    def _of(self, model: str) -> "_OfModel":
        """The model's own metrics, looked up once: by label each would cost a tenth of what a call costs us."""
        own = self._models.get(model)
        if own is None:
            own = self._models[model] = _OfModel(
                {outcome: self.requests.labels(model, outcome) for outcome in OUTCOMES},
                self.request_seconds.labels(model),
                self.queue_seconds.labels(model),
                self.preprocess_seconds.labels(model),
                self.inference_seconds.labels(model),
                self.image_inference_seconds.labels(model),
                self.postprocess_seconds.labels(model),
                self.batch_images.labels(model),
            )
        return own


def _outcome(error: BaseException, *, late: bool) -> str:
    match error:
        case DeadlineError():
            return "expired"
        case asyncio.CancelledError():
            return "expired" if late else "cancelled"
        case QueueFullError() | ModelUnavailableError():
            return "refused"
        case FramemeshError():  # what is left of the family is the request's fault
            return "invalid"
        case _:
            return "failed"
