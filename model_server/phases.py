"""What a batch did, as spans of the calls whose images were in it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from framemesh.telemetry import tracing
from model_server.inference import Inferred

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext


def record(calls: Sequence[tuple["SpanContext", Inferred]], *, model: str, began: float, ended: float) -> None:
    """Record a batch once, in the trace of its first call, with a link to every call; and each call's own phases.

    Args:
        calls: Those calls of the batch that are traced: each one's span, and what came of it.
        model: The model's name.
        began: When the batch left the queue, by `time.monotonic`.
        ended: When it had its answers.
    """
    spans = [span for span, _ in calls]
    batch = tracing.record(
        "batch", began, ended, parent=spans[0], links=spans, model=model, batch_size=calls[0][1].batch_size
    )
    links = [batch] if batch is not None else []
    for span, inferred in calls:
        decoding, running, answering = inferred.began
        tracing.record("queue", began - inferred.queue_seconds, began, parent=span)
        tracing.record("decode", decoding, decoding + inferred.preprocess_seconds, parent=span)
        tracing.record("infer", running, running + inferred.inference_seconds, parent=span, links=links, model=model)
        tracing.record("postprocess", answering, answering + inferred.postprocess_seconds, parent=span)
