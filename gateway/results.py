"""Results on their way out: to the stream `RESULTS` and to the log, one line each."""

import time

import structlog
from google.protobuf.duration_pb2 import Duration

from framemesh.bus import Bus
from framemesh.errors import FramemeshError
from framemesh.frames import MESSAGE_ID, timestamp
from framemesh.rpc.status import to_answer_error
from framemesh.v1.answer_pb2 import AnswerState, ModelAnswer
from framemesh.v1.frame_pb2 import Frame
from framemesh.v1.inference_service_pb2 import InferResponse
from framemesh.v1.result_pb2 import Result
from gateway.metrics import GatewayMetrics

log = structlog.get_logger()

_ACK_SECONDS = 5.0


def succeeded(model: str, response: InferResponse) -> ModelAnswer:
    """A model's answer."""
    return ModelAnswer(
        model=model,
        model_version=response.model_version,
        state=AnswerState.ANSWER_STATE_SUCCEEDED,
        answer=response.answer,
        timing=response.timing,
    )


def failed(model: str, error: FramemeshError) -> ModelAnswer:
    """An error in an answer's place."""
    return ModelAnswer(model=model, state=AnswerState.ANSWER_STATE_FAILED, error=to_answer_error(error))


class Results:
    """Publishes and logs results."""

    def __init__(self, bus: Bus, metrics: GatewayMetrics) -> None:
        self._bus = bus
        self._metrics = metrics

    async def write(
        self,
        frame: Frame,
        answer: ModelAnswer,
        *,
        latency_seconds: float,
        skipped: int,
        retried_dead_letter: int = 0,
    ) -> None:
        """Publish one model's result for one frame; writing it again does no harm.

        Args:
            frame: The frame.
            answer: The model's answer, or its error.
            latency_seconds: From sending the frame to the model until the answer.
            skipped: How many frames of the camera the model passed over before this one.
            retried_dead_letter: Number of the dead letter whose retry this is, for a result that replaces a failed one.

        Raises:
            BusUnavailableError: It may not have been kept: don't acknowledge the frame yet.
        """
        now_ns = time.time_ns()
        whole, rest = divmod(latency_seconds, 1)  # protobuf's own conversions are Python and take ten times as long
        result = Result(
            frame=frame,
            answer=answer,
            answer_time=timestamp(now_ns),
            latency=Duration(seconds=int(whole), nanos=int(rest * 1e9)),
            skipped_frame_count=skipped,
            retried_dead_letter=retried_dead_letter,
        )
        # A retry's id is another: NATS may still know that of the failed result, and would drop this one.
        retry = f"/{retried_dead_letter}" if retried_dead_letter else ""
        await self._bus.publish(
            f"results.{answer.model}.{frame.camera}",
            result.SerializeToString(),
            {MESSAGE_ID: f"{answer.model}/{frame.frame_id}{retry}"},
            timeout=_ACK_SECONDS,
        )
        staleness = (now_ns - frame.capture_time.ToNanoseconds()) / 1e9
        outcome = "succeeded" if answer.state == AnswerState.ANSWER_STATE_SUCCEEDED else "failed"
        self._metrics.answers.labels(answer.model, outcome).inc()
        self._metrics.latency_seconds.labels(answer.model).observe(latency_seconds)
        self._metrics.staleness_seconds.labels(answer.model).observe(staleness)
        best = answer.answer.classification.labels[0] if answer.answer.classification.labels else None
        log.info(
            "result",
            model=answer.model,
            camera=frame.camera,
            frame_id=frame.frame_id,
            outcome=outcome,
            **({"label": best.name, "score": round(best.score, 4)} if best else {}),
            **({"reason": answer.error.reason} if outcome == "failed" else {}),
            latency_seconds=round(latency_seconds, 4),
            staleness_seconds=round(staleness, 4),
            skipped=skipped,
        )
