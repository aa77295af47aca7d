"""Spans, made and exported by OpenTelemetry's SDK. Imported only where traces are on."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import entry_points, version

import structlog
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.environment_variables import OTEL_BSP_MAX_QUEUE_SIZE
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter

from framemesh.errors import ConfigurationError
from framemesh.telemetry.redaction import Redaction
from framemesh.telemetry.tracing import Carrier, Kind

log = structlog.get_logger()

OUTCOMES = ("exported", "failed", "dropped")
_CLOSE_SECONDS = 3.0
_LONGEST = {"traceparent": 128, "tracestate": 256}  # anybody may send them, and references carry them for days
_PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_NOTHING: AbstractContextManager[None] = nullcontext()


class Tracing:
    """What traces a process. `framemesh.telemetry.tracing` documents the methods that stand there too."""

    def __init__(self, service: str) -> None:
        self.outcomes = Counter(
            "framemesh_trace_spans_total",
            "Finished spans, by what became of them; those that found the queue to the exporter full are dropped.",
            ["outcome"],
            registry=None,
        )
        for outcome in OUTCOMES:
            self.outcomes.labels(outcome)
        try:
            # The other variables are the SDK's to read: samplers, limits, attributes, where to, how often.
            resource = Resource.create()
            if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
                resource = resource.merge(Resource({SERVICE_NAME: f"framemesh-{service.replace('_', '-')}"}))
            self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            limit = int(os.environ.get(OTEL_BSP_MAX_QUEUE_SIZE) or 2048)
            for exporter in _exporters():
                self._provider.add_span_processor(_Processor(exporter(), limit, self.outcomes))
        except ConfigurationError:
            raise
        except Exception as error:  # the SDK's are of many kinds
            raise ConfigurationError(f"can't trace with the OTEL_ variables as they are: {error}") from error
        self._tracer = self._provider.get_tracer("framemesh", version("framemesh"))
        self._propagator = TraceContextTextMapPropagator()
        self._redaction = Redaction()

    def close(self) -> None:
        """Send what waits. A collector that is gone holds nobody up for long."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def span(
        self, name: str, kind: Kind, parent: Carrier | None, attributes: Mapping[str, str | int]
    ) -> AbstractContextManager[object]:
        """See `tracing.span`."""
        if parent is None and not trace.get_current_span().get_span_context().trace_flags.sampled:
            return _NOTHING  # also what nobody will see of a trace: most of them, where few are sampled
        return self._spanning(name, None if parent is None else self._extracted(parent), SpanKind[kind], attributes)

    @contextmanager
    def _spanning(
        self, name: str, context: Context | None, kind: SpanKind, attributes: Mapping[str, str | int]
    ) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=kind,
            attributes=_named(attributes),
            record_exception=False,  # tracebacks are the log's
            set_status_on_exception=False,  # the SDK's words of it may have secrets in them, as log lines would
        ) as span:
            try:
                yield
            except Exception as error:
                span.set_status(StatusCode.ERROR, self._redaction.text(f"{type(error).__name__}: {error}"))
                raise

    def note(self, attributes: Mapping[str, str | int]) -> None:
        """See `tracing.note`."""
        trace.get_current_span().set_attributes(_named(attributes))

    @contextmanager
    def continued(self, parent: Carrier) -> Iterator[None]:
        """See `tracing.continued`."""
        token = contexts.attach(self._extracted(parent))
        try:
            yield
        finally:
            contexts.detach(token)

    def headers(self) -> dict[str, str]:
        """See `tracing.headers`."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier

    def ids(self) -> dict[str, str]:
        """See `tracing.ids`."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}

    def exemplar(self) -> dict[str, str] | None:
        """See `tracing.exemplar`."""
        return None if self.recorded() is None else self.ids()

    def recorded(self) -> SpanContext | None:
        """See `tracing.recorded`."""
        context = trace.get_current_span().get_span_context()
        return context if context.trace_flags.sampled else None

    def record(
        self,
        name: str,
        began: float,
        ended: float,
        *,
        parent: SpanContext,
        links: Sequence[SpanContext],
        attributes: Mapping[str, str | int],
    ) -> SpanContext:
        """See `tracing.record`."""
        offset_ns = time.time_ns() - time.monotonic_ns()
        made = self._tracer.start_span(
            name,
            context=trace.set_span_in_context(NonRecordingSpan(parent), Context()),
            attributes=_named(attributes),
            links=[Link(other) for other in links],
            start_time=offset_ns + int(began * 1e9),
        )
        made.end(offset_ns + int(ended * 1e9))
        return made.get_span_context()

    def _extracted(self, carrier: Carrier) -> Context:
        """The context that a carrier has; one without a span where that is missing, or is none."""
        pairs = carrier.items() if isinstance(carrier, Mapping) else carrier
        # Go's NATS clients write `Traceparent`.
        own = {key.lower(): value for key, value in pairs if isinstance(value, str)}
        fitting = {key: own[key] for key, longest in _LONGEST.items() if key in own and len(own[key]) <= longest}
        return self._propagator.extract(fitting, Context())


class _Processor(BatchSpanProcessor):
    """The SDK's, with what becomes of spans counted: its own queue is never full, as here they are dropped first."""

    def __init__(self, exporter: SpanExporter, limit: int, outcomes: Counter) -> None:
        super().__init__(_Exporter(exporter, self._left, outcomes), max_queue_size=limit)
        self._limit = limit
        self._outcomes = outcomes
        self._waiting = 0
        self._lock = threading.Lock()

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span to be exported, or drop it."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._lock:
            full = self._waiting >= self._limit
            self._waiting += not full
        if full:
            self._outcomes.labels("dropped").inc()
        else:
            super().on_end(span)

    def _left(self, spans: int) -> None:
        with self._lock:
            self._waiting -= spans


class _Exporter(SpanExporter):
    """Exports by another. That it can't is said once, in one line, and once that it can again."""

    def __init__(self, exporter: SpanExporter, left: Callable[[int], None], outcomes: Counter) -> None:
        self._exporter = exporter
        self._left = left
        self._outcomes = outcomes
        self._failing = False
        self._words = _Words()
        # Those of the SDK come with each batch, and with each try.
        self._logger = logging.getLogger("opentelemetry.exporter")
        self._logger.addHandler(self._words)
        self._logger.propagate = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        self._left(len(spans))
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever an exporter raises: it is not what we are here for
            self._words.last = str(error)
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        self._outcomes.labels("failed" if failed else "exported").inc(len(spans))
        if failed and not self._failing:
            log.warning("traces.not_exported", error=self._words.last)
        elif self._failing and not failed:
            log.info("traces.exported_again")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()
        self._logger.removeHandler(self._words)
        self._logger.propagate = True

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """See `SpanExporter`."""
        return self._exporter.force_flush(timeout_millis)


class _Words(logging.Handler):
    """Keeps what exporters log last."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self.last = record.getMessage()


def _exporters() -> Iterator[type[SpanExporter]]:
    """The exporters that are asked for, as OpenTelemetry's packages register them."""
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    for name in (os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp").split(","):
        wanted = _PROTOCOLS.get(protocol or "grpc", "") if name.strip() == "otlp" else name.strip()
        found = [point for point in entry_points(group="opentelemetry_traces_exporter") if point.name == wanted]
        if not found:
            raise ConfigurationError(
                f"no exporter {name.strip()!r}{f' over {protocol}' if protocol else ''} of traces is installed: choose "
                "otlp (over grpc) or console in OTEL_TRACES_EXPORTER, or install the exporter's package"
            )
        yield found[0].load()


def _named(attributes: Mapping[str, str | int]) -> dict[str, str | int]:
    return {f"framemesh.{key}": value for key, value in attributes.items()}
