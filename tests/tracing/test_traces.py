"""Traces of frames and calls through real processes, as a collector gets them."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from nats.js.api import StreamInfo
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from framemesh.bus import Bus, streams
from framemesh.mesh import processes
from framemesh.mesh.servers import HOST, free_port
from framemesh.rpc.channels import open_channel
from framemesh.v1.analysis_service_pb2 import AnalyzeRequest
from framemesh.v1.analysis_service_pb2_grpc import AnalysisServiceStub
from tests.gateway.conftest import has_consumer, publish, serving_model
from tests.pictures import jpeg
from tests.tracing.collector import Collected, Collector
from tests.tracing.conftest import Mesh, camera_agent, until

CLIENT = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
"""A trace and a span of some client's own."""
EDGES = {
    ("framemesh-ingest", "publish frame"): None,
    ("framemesh-gateway", "store frame"): "publish frame",
    ("framemesh-gateway", "put object"): "store frame",
    ("framemesh-gateway", "publish reference"): "store frame",
    ("framemesh-gateway", "sync disk"): "store frame",
    ("framemesh-gateway", "analyse frame"): "publish reference",
    ("framemesh-gateway", "framemesh.v1.InferenceService/Infer"): "analyse frame",
    ("framemesh-model-server", "framemesh.v1.InferenceService/Infer"): "framemesh.v1.InferenceService/Infer",
    ("framemesh-model-server", "queue"): "framemesh.v1.InferenceService/Infer",
    ("framemesh-model-server", "decode"): "framemesh.v1.InferenceService/Infer",
    ("framemesh-model-server", "infer"): "framemesh.v1.InferenceService/Infer",
    ("framemesh-model-server", "postprocess"): "framemesh.v1.InferenceService/Infer",
    ("framemesh-model-server", "batch"): "framemesh.v1.InferenceService/Infer",
    ("framemesh-gateway", "publish result"): "analyse frame",
}
"""What one frame's trace has: each span by its service and name, with the name of its parent."""


_families: Any = text_string_to_metric_families  # prometheus-client says nothing of its types


def traceparent(*, trace: str = CLIENT[0], flags: str = "01") -> str:
    return f"00-{trace}-{CLIENT[1]}-{flags}"


def edges(spans: list[Collected]) -> dict[tuple[str, str], str | None]:
    names = {span.span_id: span.name for span in spans}
    return {(span.service, span.name): names.get(span.parent_id) for span in spans}


async def headers_of(bus: Bus, stream: str, message_id: str) -> dict[str, str]:
    """The headers of the message with that id, once it is there."""

    async def find() -> dict[str, str] | None:
        info: StreamInfo = await bus.js.stream_info(stream)
        for sequence in range(max(info.state.first_seq, 1), info.state.last_seq + 1):  # both are 0 before the first
            message = await bus.js.get_msg(stream, sequence)
            if (message.headers or {}).get("Nats-Msg-Id") == message_id:
                return dict(message.headers or {})
        return None

    found: dict[str, str] = await until(find)
    return found


async def whole(collector: Collector, trace_id: str, count: int) -> list[Collected]:
    """All spans of a trace, once there are so many."""
    return await until(lambda: len(found := collector.of_trace(trace_id)) >= count and found)  # type: ignore[no-any-return]


async def page(url: str, accept: str = "") -> tuple[str, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Accept": accept}) as response:
        return response.headers["Content-Type"], await response.text()


def logged(mesh: Mesh, service: str) -> list[dict[str, Any]]:
    lines = (mesh.logs / f"{service}.log").read_text().splitlines(keepends=True)
    whole_ones = [line for line in lines if line.endswith("\n")]  # the last may be under way
    return [json.loads(line) for line in whole_ones if line.startswith("{")]


def results_logged(mesh: Mesh, frame_id: str) -> list[dict[str, Any]]:
    return [line for line in logged(mesh, "gateway") if line["event"] == "result" and line["frame_id"] == frame_id]


async def test_one_frame_is_one_trace_through_every_service(
    mesh: Mesh, collector: Collector, bus: Bus, nats: str, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    agent = camera_agent({"FRAMEMESH_NATS_URL": nats, **collector.variables}, tmp_path / "a.jpg")
    await mesh.supervisor.start(agent)
    first = (await until(lambda: collector.named("publish result")))[0]
    await mesh.supervisor.stop("ingest")

    spans = await whole(collector, first.trace_id, len(EDGES))
    assert len(spans) == len(EDGES)
    assert edges(spans) == EDGES
    assert not any(span.failed for span in spans)
    by_name = {(span.service, span.name): span for span in spans}
    parents = {span.span_id: span for span in spans}
    for span in spans:
        assert span.start_ns <= span.end_ns
        if span.parent_id:  # one clock for all processes here
            assert parents[span.parent_id].start_ns <= span.start_ns
    batch = by_name["framemesh-model-server", "batch"]
    served = by_name["framemesh-model-server", "framemesh.v1.InferenceService/Infer"]
    assert batch.links == (served.span_id,)
    assert by_name["framemesh-model-server", "infer"].links == (batch.span_id,)

    frame_id = by_name["framemesh-ingest", "publish frame"].attributes["framemesh.frame_id"]
    assert by_name["framemesh-gateway", "store frame"].attributes["framemesh.frame_id"] == frame_id
    result = await headers_of(bus, streams.RESULTS, f"tiny/{frame_id}")
    assert result["traceparent"].startswith(f"00-{first.trace_id}-{first.span_id}-")
    lines = await until(lambda: results_logged(mesh, frame_id))  # once the result is published, so after the span's end
    assert [line["trace_id"] for line in lines] == [first.trace_id]


async def test_a_clients_own_trace_goes_on_in_its_call(mesh: Mesh, collector: Collector) -> None:
    async with open_channel(mesh.grpc_address) as channel:
        stub: Any = AnalysisServiceStub(channel)
        request = AnalyzeRequest(image=jpeg(), models=["tiny"])
        await stub.Analyze(request, timeout=30, metadata=(("traceparent", traceparent()),))
    spans = await whole(collector, CLIENT[0], 8)
    (door,) = [span for span in spans if span.parent_id == CLIENT[1]]
    assert (door.service, door.name) == ("framemesh-gateway", "framemesh.v1.AnalysisService/Analyze")
    assert {(span.service, span.name) for span in spans} >= {
        ("framemesh-model-server", "queue"), ("framemesh-model-server", "decode"), ("framemesh-model-server", "infer"),
    }  # fmt: skip


async def test_images_of_a_stream_are_each_a_part_of_the_clients_trace(mesh: Mesh, collector: Collector) -> None:
    trace = "a" * 32
    async with open_channel(mesh.grpc_address) as channel:
        from framemesh.v1.analysis_service_pb2 import AnalyzeStreamRequest

        stub: Any = AnalysisServiceStub(channel)
        requests = [
            AnalyzeStreamRequest(request_id=str(number), request=AnalyzeRequest(image=jpeg(), models=["tiny"]))
            for number in range(2)
        ]
        call = stub.AnalyzeStream(iter(requests), timeout=30, metadata=(("traceparent", traceparent(trace=trace)),))
        assert {response.request_id async for response in call} == {"0", "1"}

    def images() -> list[str]:  # how many spans are below them depends on whether they met in a batch
        return [span.name for span in collector.of_trace(trace) if span.parent_id == CLIENT[1]]

    await until(lambda: images() == ["framemesh.v1.AnalysisService/AnalyzeStream image"] * 2)


async def test_a_camera_in_any_language_begins_the_trace_that_its_frames_go_on_with(
    mesh: Mesh, collector: Collector, bus: Bus
) -> None:
    trace = "b" * 32  # Go's NATS clients write the header's name so
    await bus.client.publish("frames.go", jpeg(), headers={"Traceparent": traceparent(trace=trace)})
    spans = await whole(collector, trace, len(EDGES) - 1)
    assert [span.name for span in spans if span.parent_id == CLIENT[1]] == ["store frame"]


async def test_what_a_camera_does_not_sample_nobody_samples(mesh: Mesh, collector: Collector, bus: Bus) -> None:
    quiet, loud = "c" * 32, "d" * 32
    for number, (trace, flags) in enumerate(((quiet, "00"), (loud, "01")), 1):
        await bus.client.publish("frames.quiet", jpeg(), headers={"traceparent": traceparent(trace=trace, flags=flags)})
        await until(partial(_has_results, bus, "tiny", "quiet", number))  # or both may be one batch, which is one's own
    await whole(collector, loud, len(EDGES) - 1)
    assert collector.of_trace(quiet) == []


async def _has_results(bus: Bus, model: str, camera: str, count: int) -> bool:
    info = await bus.js.stream_info(streams.RESULTS, subjects_filter=f"results.{model}.{camera}")
    return sum((info.state.subjects or {}).values()) >= count


@pytest.mark.parametrize(
    "hostile",
    [
        {"traceparent": "00-" + "0" * 32 + "-00f067aa0ba902b7-01"},
        {"traceparent": "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        {"traceparent": "../../etc/passwd"},
        {"traceparent": "é" * 4000},
        {"traceparent": ""},
        {"tracestate": "a=b"},
    ],
    ids=["zeros", "version ff", "a path", "long", "empty", "a state alone"],
)
async def test_a_context_that_is_none_is_ignored(
    hostile: dict[str, str], mesh: Mesh, collector: Collector, bus: Bus
) -> None:
    before = {span.span_id for span in collector.named("store frame")}
    await bus.client.publish("frames.hostile", jpeg(), headers=hostile)
    (fresh,) = await until(
        lambda: [
            span
            for span in collector.named("store frame", camera="hostile")
            if span.span_id not in before and span.trace_id != CLIENT[0]
        ]
    )
    assert fresh.parent_id == ""
    assert not fresh.failed


async def test_a_state_too_long_to_be_carried_is_left_behind(mesh: Mesh, collector: Collector, bus: Bus) -> None:
    trace = "e" * 32
    state = ",".join(f"vendor{number}={'x' * 60}" for number in range(6))
    await bus.client.publish(
        "frames.stateful", jpeg(), headers={"traceparent": traceparent(trace=trace), "tracestate": state}
    )
    (stored,) = await until(lambda: [span for span in collector.of_trace(trace) if span.name == "store frame"])
    headers = await headers_of(bus, streams.STORED, stored.attributes["framemesh.frame_id"])
    assert headers["traceparent"].startswith(f"00-{trace}-")
    assert "tracestate" not in headers


async def test_a_model_that_lags_joins_the_trace_of_its_frame(mesh: Mesh, collector: Collector, bus: Bus) -> None:
    from framemesh.specs import parse

    await mesh.client.deploy(parse("late=echo,policy=every"))
    await until(lambda: has_consumer(bus, "late"))
    trace = "f" * 32
    await bus.client.publish("frames.late", jpeg(), headers={"traceparent": traceparent(trace=trace)})
    await until(lambda: [span for span in collector.of_trace(trace) if span.name == "publish result"])
    async with serving_model(bus, "late"):
        (late,) = await until(
            lambda: [s for s in collector.named("analyse frame", model="late") if s.trace_id == trace]
        )
    await mesh.client.delete("late")
    (reference,) = [span for span in collector.of_trace(trace) if span.name == "publish reference"]
    assert late.parent_id == reference.span_id


async def test_histograms_lead_to_traces_where_openmetrics_is_asked_for(
    mesh: Mesh, collector: Collector, bus: Bus
) -> None:
    await publish(bus, "exemplary", jpeg())
    await until(lambda: collector.named("analyse frame", camera="exemplary"))
    prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    for url, names in (
        (mesh.gateway_page, ["store_duration", "model_latency", "model_staleness"]),
        (mesh.model_page, ["request_duration"]),
    ):
        kind, text = await page(url, prometheus)
        assert kind.startswith("application/openmetrics-text")
        samples = [sample for family in _families(text) for sample in family.samples]
        for name in names:
            traces = {s.exemplar.labels["trace_id"] for s in samples if name in s.name and s.exemplar is not None}
            assert traces
            await until(partial(_has_traces, collector, traces))


def _has_traces(collector: Collector, traces: set[str]) -> bool:
    return traces <= {span.trace_id for span in collector.spans}


async def test_a_plain_scrape_gets_what_it_always_got(mesh: Mesh) -> None:
    for accept in ("", "*/*", "text/plain;version=0.0.4"):
        kind, text = await page(mesh.gateway_page, accept)
        assert kind == "text/plain; version=1.0.0; charset=utf-8"
        assert "trace_id" not in text
        assert list(plain_families(text))


async def test_a_collector_that_is_gone_holds_up_no_frame_and_is_told_of_once(
    mesh: Mesh, collector: Collector, bus: Bus
) -> None:
    before = len(logged(mesh, "gateway"))
    collector.stop()
    for number in range(20):
        frame_id = await publish(bus, "alone", jpeg(), sequence=number)
        await headers_of(bus, streams.RESULTS, f"tiny/{frame_id}")
    await until(lambda: _spans(mesh.gateway_page, "failed"))
    collector.start()
    while "traces.exported_again" not in {line["event"] for line in logged(mesh, "gateway")[before:]}:
        # Those of a frame before may all have been given up while nobody listened, so each round makes new ones.
        await headers_of(bus, streams.RESULTS, f"tiny/{await publish(bus, 'alone', jpeg())}")
    told = [line for line in logged(mesh, "gateway")[before:] if line["event"] == "traces.not_exported"]
    assert len(told) == 1
    assert "UNAVAILABLE" in told[0]["error"]
    assert not [line for line in logged(mesh, "gateway") if str(line.get("logger")).startswith("opentelemetry")]


async def _spans(url: str, outcome: str) -> float:
    _, text = await page(url)
    (found,) = [
        sample.value
        for family in plain_families(text)
        for sample in family.samples
        if sample.name == "framemesh_trace_spans_total" and sample.labels["outcome"] == outcome
    ]
    return found


async def test_without_the_variables_there_is_no_trace_of_traces(
    mesh: Mesh, bus: Bus, nats: str, s3: dict[str, str]
) -> None:
    """The last test of this mesh: the gateway that traces is gone after it."""
    await mesh.supervisor.stop("gateway")
    spec = processes.gateway(
        {"FRAMEMESH_NATS_URL": nats, **s3}, grpc_port=free_port(), http_port=(port := free_port()), drain_seconds=5
    )
    await mesh.supervisor.start(spec)
    frame_id = await publish(bus, "untraced", jpeg())
    assert list(await headers_of(bus, streams.STORED, str(frame_id))) == ["Nats-Msg-Id"]
    assert list(await headers_of(bus, streams.RESULTS, f"tiny/{frame_id}")) == ["Nats-Msg-Id"]
    _, text = await page(f"http://{HOST}:{port}/metrics")
    assert "framemesh_trace_spans" not in text


def test_services_load_nothing_of_opentelemetry_unless_they_trace() -> None:
    services = ("gateway", "ingest", "model_server", "archiver", "deployer")
    code = f"import sys, {', '.join(f'{service}.app' for service in services)}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=100)
    assert "gateway.lanes" in found.stdout
    assert "opentelemetry" not in found.stdout
