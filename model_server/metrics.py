"""Every metric that the model server exports."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from framemesh.errors import DeadlineError, FramemeshError, ModelUnavailableError, QueueFullError
from model_server.inference import Answered

OUTCOMES = ("succeeded", "invalid", "refused", "expired", "cancelled", "failed")

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


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
        self.postprocess_seconds = Histogram(
            "framemesh_model_server_postprocess_duration_seconds",
            "Making answers of one batch's outputs.",
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
            ["model", "version", "runtime", "task"],
            registry=registry,
        )

    def begin(self, model: str) -> None:
        """Show the model's metrics from the start, at zero."""
        for outcome in OUTCOMES:
            self.requests.labels(model, outcome)
        for metric in (
            self.request_seconds, self.queue_seconds, self.preprocess_seconds, self.inference_seconds,
            self.postprocess_seconds, self.batch_images, self.queued_images,
        ):  # fmt: skip
            metric.labels(model)

    def batch(self, model: str, answered: Sequence[Answered]) -> None:
        """Take note of a batch; its answers share what it took as a whole."""
        for one in answered:
            self.queue_seconds.labels(model).observe(one.queue_seconds)
            self.preprocess_seconds.labels(model).observe(one.answer.preprocess_seconds)
        if answered:
            self.batch_images.labels(model).observe(len(answered))
            self.inference_seconds.labels(model).observe(answered[0].answer.inference_seconds)
            self.postprocess_seconds.labels(model).observe(answered[0].answer.postprocess_seconds)

    @contextmanager
    def counting(self, model: str, deadline: float) -> Iterator[None]:
        """Count the call that the block answers, by how it ends.

        gRPC cancels a call whose deadline passes; `deadline`, by `time.monotonic`, tells it from one that was given up.
        """
        started = time.monotonic()
        try:
            yield
        except BaseException as error:
            self.requests.labels(model, _outcome(error, late=time.monotonic() >= deadline)).inc()
            raise
        self.requests.labels(model, "succeeded").inc()
        self.request_seconds.labels(model).observe(time.monotonic() - started)


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
