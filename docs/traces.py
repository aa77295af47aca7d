"""`python docs/traces.py`: print traces as trees, for whoever has no collector of OpenTelemetry's protocol at hand.

Have services send their spans to it: OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 framemesh up
"""

import argparse
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_QUIET_SECONDS = 10.0
"""A trace of which nothing came for so long is whole: services send every 5 s."""
_SHOWN = ("framemesh.frame_id", "framemesh.model", "framemesh.batch_size")


class Traces(pb2_grpc.TraceServiceServicer):
    """Spans that came, by trace, until they are printed."""

    def __init__(self) -> None:
        self._spans: dict[bytes, list[tuple[str, Span]]] = defaultdict(list)
        self._heard: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def Export(  # noqa: N802 - gRPC's name
        self,
        request: pb2.ExportTraceServiceRequest,
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> pb2.ExportTraceServiceResponse:
        """Keep the spans of a process."""
        with self._lock:
            for part in request.resource_spans:
                names = {each.key: each.value.string_value for each in part.resource.attributes}
                for span in (span for scope in part.scope_spans for span in scope.spans):
                    self._spans[span.trace_id].append((names.get("service.name", ""), span))
                    self._heard[span.trace_id] = time.monotonic()
        return pb2.ExportTraceServiceResponse()

    def whole(self) -> list[list[tuple[str, Span]]]:
        """Traces of which nothing came for a while; they are forgotten."""
        with self._lock:
            ended = [trace for trace, heard in self._heard.items() if time.monotonic() - heard > _QUIET_SECONDS]
            return [self._spans.pop(trace) for trace in ended if self._heard.pop(trace)]


def tree(spans: list[tuple[str, Span]]) -> str:
    """A trace's spans below one another: when each began after the first, how long it took, who did what."""
    known = {span.span_id for _, span in spans}
    children: dict[bytes, list[tuple[str, Span]]] = defaultdict(list)
    for service, span in sorted(spans, key=lambda pair: pair[1].start_time_unix_nano):
        children[span.parent_span_id if span.parent_span_id in known else b""].append((service, span))
    first = min(span.start_time_unix_nano for _, span in spans)
    lines = [f"trace {spans[0][1].trace_id.hex()}"]

    def add(parent: bytes, depth: int) -> None:
        for service, span in children[parent]:
            began, took = span.start_time_unix_nano - first, span.end_time_unix_nano - span.start_time_unix_nano
            told = " ".join(
                each.value.string_value or str(each.value.int_value) for each in span.attributes if each.key in _SHOWN
            )
            failed = " FAILED" if span.status.code == span.status.STATUS_CODE_ERROR else ""
            what = f"{'  ' * depth}{service.removeprefix('framemesh-')}: {span.name}"
            lines.append(f"{began / 1e6:9.1f} ms {took / 1e6:8.1f} ms  {what}{failed}  {told}".rstrip())
            add(span.span_id, depth + 1)

    add(b"", 0)
    return "\n".join(lines)


def main() -> None:
    """Collect and print until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[2].partition("\n")[0].strip())
    parser.add_argument("--port", type=int, default=4317)
    parser.add_argument("--with", dest="wanted", default="", help="only traces that have a span of this name")
    chosen = parser.parse_args()
    traces = Traces()
    server = grpc.server(ThreadPoolExecutor(4))
    pb2_grpc.add_TraceServiceServicer_to_server(traces, server)
    server.add_insecure_port(f"127.0.0.1:{chosen.port}")
    server.start()
    print(f"waiting for spans on 127.0.0.1:{chosen.port}", flush=True)  # noqa: T201
    try:
        while True:
            time.sleep(0.5)
            for spans in traces.whole():
                if not chosen.wanted or any(span.name == chosen.wanted for _, span in spans):
                    print(tree(spans), flush=True)  # noqa: T201
    except KeyboardInterrupt:
        server.stop(0)


if __name__ == "__main__":
    main()
