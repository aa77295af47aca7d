"""Results on their way out: to the stream `RESULTS`, or `SHADOWS`, and to the log, one line each."""

import time

import structlog
from google.protobuf.duration_pb2 import Duration

from framemesh.bus import Bus
from framemesh.bus.streams import result_subject
from framemesh.errors import FramemeshError
from framemesh.frames import MESSAGE_ID, timestamp
from framemesh.rpc.status import to_answer_error
from framemesh.telemetry import tracing
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
        shadow: bool,
        retried_dead_letter: int = 0,
    ) -> None:
        """Publish one model's result for one frame; writing it again does no harm.

        Args:
            frame: The frame.
            answer: The model's answer, or its error.
            latency_seconds: From sending the frame to the model until the answer.
            skipped: How many frames of the camera the model passed over before this one.
            shadow: Whether the model is one, whose results are kept apart and only counted.
            retried_dead_letter: Number of the dead letter whose retry this is, for a result that replaces a failed one.

        Raises:
            BusUnavailableError: It may not have been kept: don't acknowledge the frame yet.
        """
        result = _result(frame, answer, latency_seconds)
        result.skipped_frame_count = skipped
        result.retried_dead_letter = retried_dead_letter
        await self._publish(result, shadow=shadow, again=str(retried_dead_letter or ""))
        staleness = (result.answer_time.ToNanoseconds() - frame.capture_time.ToNanoseconds()) / 1e9
        outcome = "succeeded" if answer.state == AnswerState.ANSWER_STATE_SUCCEEDED else "failed"
        self._metrics.count(answer.model, outcome, shadow=shadow)
        if not shadow:
            self._metrics.latency_seconds.labels(answer.model).observe(latency_seconds, tracing.exemplar())
        if not shadow and not retried_dead_letter:  # whose age is that of the fault
            self._metrics.staleness_seconds.labels(answer.model).observe(staleness, tracing.exemplar())
        best = answer.answer.classification.labels[0] if answer.answer.classification.labels else None
        log.info(
            "shadow.result" if shadow else "result",
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

    async def write_replayed(
        self, frame: Frame, answer: ModelAnswer, *, latency_seconds: float, shadow: bool, again: str
    ) -> None:
        """As `write`, for a frame of the past, whose age would spoil what is said of live ones.

        Args:
            frame: The frame.
            answer: The model's answer.
            latency_seconds: From sending the frame until its answer came.
            shadow: As `write` takes it.
            again: Tells this answer from those that NATS may have of the same frame; empty where it is the same one.

        Raises:
            BusUnavailableError: It may not have been kept: write it again.
        """
        result = _result(frame, answer, latency_seconds)
        result.replayed = True
        await self._publish(result, shadow=shadow, again=again)

    async def _publish(self, result: Result, *, shadow: bool, again: str) -> None:
        """Publish a result; one that is to replace another has a message id of its own, else NATS would drop it."""
        model, frame = result.answer.model, result.frame
        with tracing.span("publish result", kind="PRODUCER"):
            await self._bus.publish(
                result_subject(model, frame.camera, shadow=shadow),
                result.SerializeToString(),
                {MESSAGE_ID: f"{model}/{frame.frame_id}" + (f"/{again}" if again else "")},
                timeout=_ACK_SECONDS,
            )


def _result(frame: Frame, answer: ModelAnswer, latency_seconds: float) -> Result:
    """A result of now."""
    whole, rest = divmod(latency_seconds, 1)  # protobuf's own conversions are Python and take ten times as long
    return Result(
        frame=frame,
        answer=answer,
        answer_time=timestamp(time.time_ns()),
        latency=Duration(seconds=int(whole), nanos=int(rest * 1e9)),
    )
