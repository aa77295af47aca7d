"""What a model has done since its server started, read from the metrics: one count for all who show it."""

from dataclasses import dataclass

from prometheus_client.metrics import MetricWrapperBase

from model_server.metrics import ModelServerMetrics

REASONS = {
    "refused": "REJECTED", "expired": "REJECTED", "cancelled": "CANCELED", "failed": "BACKEND", "invalid": "OTHER"
}  # fmt: skip
"""Triton's words for how a request failed, by ours."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a model has done since its server started.

    Attributes:
        succeeded: Requests that were answered.
        failed: Requests that weren't, by Triton's reason.
        images: Images that ran.
        batches: Batches that ran.
        request_seconds: From a request's arrival to its answer, of those that were answered.
        queue_seconds: Of images, waiting for a worker.
        input_seconds: Of images, being decoded and made into inputs.
        infer_seconds: Of images, running; each counts its batch as a whole.
        output_seconds: Of images, being made into answers.
        waiting: Images that wait now.
        load_seconds: From start to serving.
    """

    succeeded: int
    failed: dict[str, int]
    images: int
    batches: int
    request_seconds: float
    queue_seconds: float
    input_seconds: float
    infer_seconds: float
    output_seconds: float
    waiting: int
    load_seconds: float


def totals(metrics: ModelServerMetrics, model: str) -> Totals:
    """What the model has done until now."""
    outcomes = _values(metrics.requests, model, "_total", label="outcome")
    failed = dict.fromkeys(REASONS.values(), 0)
    for outcome, reason in REASONS.items():
        failed[reason] += int(outcomes[outcome])
    return Totals(
        succeeded=int(outcomes["succeeded"]),
        failed=failed,
        images=int(_value(metrics.batch_images, model, "_sum")),
        batches=int(_value(metrics.batch_images, model, "_count")),
        request_seconds=_value(metrics.request_seconds, model, "_sum"),
        queue_seconds=_value(metrics.queue_seconds, model, "_sum"),
        input_seconds=_value(metrics.preprocess_seconds, model, "_sum"),
        infer_seconds=_value(metrics.image_inference_seconds, model, "_total"),
        output_seconds=_value(metrics.postprocess_seconds, model, "_sum"),
        waiting=int(_value(metrics.queued_images, model, "")),
        load_seconds=_value(metrics.load_seconds, model, ""),
    )


def served_versions(metrics: ModelServerMetrics) -> dict[str, str]:
    """The version of each model that is served."""
    return {
        sample.labels["model"]: sample.labels["version"]
        for family in metrics.info.collect()
        for sample in family.samples
    }


def _value(metric: MetricWrapperBase, model: str, suffix: str) -> float:
    (value,) = _values(metric, model, suffix, label="model").values()
    return value


def _values(metric: MetricWrapperBase, model: str, suffix: str, *, label: str) -> dict[str, float]:
    """The samples for the model that end so, by a label."""
    return {
        sample.labels[label]: sample.value
        for family in metric.collect()
        for sample in family.samples
        if sample.name == family.name + suffix and sample.labels["model"] == model
    }
