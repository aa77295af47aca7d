"""Traces of frames and calls by OpenTelemetry's own machinery: off unless its standard variables turn it on.

Off, nothing of OpenTelemetry is imported, and each function here returns at its first check. Contexts travel as W3C
Trace Context: `traceparent` and `tracestate` in the headers of messages and in the metadata of calls.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

import structlog

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext
    from prometheus_client import CollectorRegistry

    from framemesh.telemetry.spans import Tracing

log = structlog.get_logger()

Kind = Literal["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]
"""What a span is to its neighbours, in OpenTelemetry's words."""
Carrier = Mapping[str, str] | Iterable[tuple[str, str | bytes]]
"""Headers of a message, or metadata of a call."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_OFF: AbstractContextManager[None] = nullcontext()
_on: "Tracing | None" = None


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether the variables ask for traces: they name an exporter, or where OTLP goes, and don't disable the SDK."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    return exporter != "none" if exporter else any(environment.get(name) for name in _ENDPOINTS)


@contextmanager
def started(service: str) -> Iterator[None]:
    """Trace around the block where the variables ask for it. On leaving, what waits is sent, for a few seconds at most.

    Raises:
        ConfigurationError: They ask for an exporter that isn't installed, or a value can't be read.
    """
    global _on  # noqa: PLW0603 - a process traces or it doesn't, like its logging
    if not wanted(os.environ):
        yield
        return
    try:
        from framemesh.telemetry.spans import Tracing  # noqa: PLC0415 - OpenTelemetry, which most do without
    except ImportError as error:  # some set these variables for a whole cluster: frames come first
        log.warning("traces.off", error=f"{error}: install 'framemesh[tracing]', or set OTEL_SDK_DISABLED=true")
        yield
        return
    _on = Tracing(service)
    try:
        yield
    finally:
        ending, _on = _on, None
        ending.close()


def register(registry: "CollectorRegistry") -> None:
    """Show on the registry's page what becomes of spans."""
    if _on is not None:
        registry.register(_on.outcomes)


def span(
    name: str, *, kind: Kind = "INTERNAL", parent: Carrier | None = None, **attributes: str | int
) -> AbstractContextManager[object]:
    """A span around the block, which an error that comes out of it marks as failed.

    Args:
        name: What is done; one of few.
        kind: What it is to its neighbours.
        parent: What carries the context of the span that caused this one; a trace begins where it carries none. Not
            given, the span is a part of the current one, and there is none outside of a trace.
        attributes: What is worth finding it by, shown as `framemesh.<name>`.
    """
    return _OFF if _on is None else _on.span(name, kind, parent, attributes)


def note(**attributes: str | int) -> None:
    """Say more of the current span."""
    if _on is not None:
        _on.note(attributes)


def continued(parent: Carrier) -> AbstractContextManager[object]:
    """Have spans in the block be parts of the caller's, where the carrier has its context."""
    return _OFF if _on is None else _on.continued(parent)


def headers() -> dict[str, str]:
    """The current span's context for a message or a call that it causes."""
    return {} if _on is None else _on.headers()


def metadata() -> tuple[tuple[str, str], ...] | None:
    """The same as a call's metadata."""
    return None if _on is None else tuple(_on.headers().items())


def ids() -> dict[str, str]:
    """`trace_id` and `span_id` of the current span, for log lines."""
    return {} if _on is None else _on.ids()


def exemplar() -> dict[str, str] | None:
    """What leads from a histogram's bucket to the current trace; none where that isn't recorded."""
    return None if _on is None else _on.exemplar()


def recorded() -> "SpanContext | None":
    """The current span for `record` in another thread, or later; none where it isn't recorded."""
    return None if _on is None else _on.recorded()


def record(
    name: str,
    began: float,
    ended: float,
    *,
    parent: "SpanContext",
    links: Sequence["SpanContext"] = (),
    **attributes: str | int,
) -> "SpanContext | None":
    """Note what has been done already, as a part of a span.

    Args:
        name: What was done; one of few.
        began: When, by `time.monotonic`.
        ended: Until when.
        parent: The span that it is a part of.
        links: Others that it concerns.
        attributes: As of `span`.
    """
    return None if _on is None else _on.record(name, began, ended, parent=parent, links=links, attributes=attributes)
