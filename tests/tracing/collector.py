"""A collector of OpenTelemetry's own protocol, which keeps what it is sent."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True, slots=True)
class Collected:
    """One span, with what the tests ask of it."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, str]
    links: tuple[str, ...]
    failed: bool
    error: str


class Collector(TraceServiceServicer):
    """Keeps spans in the order in which they come. While `answering` is cleared, it takes requests and says nothing."""

    def __init__(self) -> None:
        self.spans: list[Collected] = []
        self.answering = Event()
        self.answering.set()
        self._port = 0

    def start(self) -> None:
        """Listen, each time on the same port."""
        self._server = grpc.server(ThreadPoolExecutor(8))
        add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        self._server.start()

    def stop(self) -> None:
        """Be gone."""
        self.answering.set()
        self._server.stop(grace=0).wait()

    def Export(  # noqa: N802 - gRPC's name
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        self.answering.wait()
        for resource in request.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [_collected(names["service.name"], span) for span in scope.spans]
        return ExportTraceServiceResponse()

    def of_trace(self, trace_id: str) -> list[Collected]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def named(self, name: str, **attributes: str) -> list[Collected]:
        """Spans of that name with these attributes."""
        wanted = {f"framemesh.{key}": value for key, value in attributes.items()}.items()
        return [span for span in self.spans if span.name == name and wanted <= span.attributes.items()]

    @property
    def variables(self) -> dict[str, str]:
        """What makes a process send its spans here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._port}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "5",  # two tries at one that is gone, and time for one that is slow
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens around the block."""
    collector = Collector()
    collector.start()
    try:
        yield collector
    finally:
        collector.stop()


def _collected(service: str, span: Span) -> Collected:
    return Collected(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        {each.key: each.value.string_value or str(each.value.int_value) for each in span.attributes},
        tuple(link.span_id.hex() for link in span.links),
        span.status.code == span.status.STATUS_CODE_ERROR,
        span.status.message,
    )
