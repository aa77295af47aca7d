import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from framemesh.errors import InvalidRequestError, QueueFullError
from framemesh.v1.answer_pb2 import Answer
from model_server.inference import Inferred
from model_server.metrics import ModelServerMetrics
from model_server.triton_metrics import METRICS, TritonCollector

# As Triton's own dashboards and its example of an autoscaler ask for them.
NAMES = {
    "nv_inference_request_success", "nv_inference_request_failure", "nv_inference_count", "nv_inference_exec_count",
    "nv_inference_request_duration_us", "nv_inference_queue_duration_us", "nv_inference_compute_input_duration_us",
    "nv_inference_compute_infer_duration_us", "nv_inference_compute_output_duration_us",
    "nv_inference_pending_request_count", "nv_model_load_duration_secs", "nv_cpu_utilization",
    "nv_cpu_memory_total_bytes", "nv_cpu_memory_used_bytes",
}  # fmt: skip


class Manifest:
    """As much of one as the metrics read."""

    version, runtime, precision, fallback_reason = "abc", "onnx", "fp32", ""

    class task:  # noqa: N801
        name = "image-classification"


@pytest.fixture
def metrics() -> ModelServerMetrics:
    metrics = ModelServerMetrics(CollectorRegistry())
    metrics.begin("vit")
    return metrics


def exported(metrics: ModelServerMetrics, proc: Path = Path("/proc")) -> str:
    registry = CollectorRegistry()
    registry.register(TritonCollector(metrics, proc))
    return generate_latest(registry).decode()


def serve(metrics: ModelServerMetrics) -> None:
    metrics.loaded("vit", Manifest(), seconds=2.5)  # type: ignore[arg-type]


def test_the_names_are_tritons_to_the_letter(metrics: ModelServerMetrics) -> None:
    serve(metrics)
    lines = [line for line in exported(metrics).splitlines() if not line.startswith("#")]
    assert {line.partition("{")[0].partition(" ")[0] for line in lines} == NAMES
    assert {metric.name for metric in METRICS} == NAMES
    assert 'nv_inference_request_success{model="vit",version="abc"} 0.0' in lines


def test_counters_have_no_type_that_would_change_their_names(metrics: ModelServerMetrics) -> None:
    text = exported(metrics)
    assert "# TYPE nv_inference_request_success untyped" in text
    assert "_total " not in text
    assert "_created" not in text


def test_until_a_model_serves_only_the_machine_is_shown(metrics: ModelServerMetrics) -> None:
    lines = [line for line in exported(metrics).splitlines() if not line.startswith("#")]
    assert {line.partition(" ")[0] for line in lines} == {name for name in NAMES if name.startswith("nv_cpu")}


def values(metrics: ModelServerMetrics) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("reason", "")): sample.value
        for family in text_string_to_metric_families(exported(metrics))
        for sample in family.samples
    }


def inferred(*, queue: float, preprocess: float, inference: float, postprocess: float, batch: int) -> Inferred:
    return Inferred(Answer(), {}, preprocess, inference, postprocess, batch, queue)


def test_durations_are_cumulative_microseconds_of_each_image(metrics: ModelServerMetrics) -> None:
    serve(metrics)
    batch = [inferred(queue=wait, preprocess=0.002, inference=0.05, postprocess=0.001, batch=2) for wait in (0.1, 0.2)]
    metrics.batch("vit", batch)
    metrics.batch("vit", [inferred(queue=0, preprocess=0.002, inference=0.03, postprocess=0.001, batch=1)])
    found = values(metrics)
    assert found["nv_inference_count", ""] == 3
    assert found["nv_inference_exec_count", ""] == 2
    expected = {"queue": 300_000, "compute_input": 6_000, "compute_infer": 130_000, "compute_output": 3_000}
    for stage, microseconds in expected.items():
        assert found[f"nv_inference_{stage}_duration_us", ""] == pytest.approx(microseconds)
    assert found["nv_model_load_duration_secs", ""] == 2.5


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (QueueFullError("full"), "REJECTED"),
        (InvalidRequestError("wrong"), "OTHER"),
        (RuntimeError("broken"), "BACKEND"),
        (asyncio.CancelledError(), "CANCELED"),
    ],
)
def test_failures_have_tritons_reasons(metrics: ModelServerMetrics, error: BaseException, reason: str) -> None:
    serve(metrics)
    with pytest.raises(type(error)), metrics.counting("vit", float("inf")):
        raise error
    with metrics.counting("vit", float("inf")):
        pass
    found = values(metrics)
    reasons = {name: value for (metric, name), value in found.items() if metric == "nv_inference_request_failure"}
    assert reasons == {"REJECTED": 0, "CANCELED": 0, "BACKEND": 0, "OTHER": 0} | {reason: 1}
    assert found["nv_inference_request_success", ""] == 1
    assert found["nv_inference_request_duration_us", ""] > 0


def test_the_machine_is_read_from_proc(metrics: ModelServerMetrics, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  400 kB\n")
    (tmp_path / "stat").write_text("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1 1 1 1\n")
    registry = CollectorRegistry()
    registry.register(TritonCollector(metrics, tmp_path))
    assert "nv_cpu_utilization 0.2\n" in generate_latest(registry).decode()
    (tmp_path / "stat").write_text("cpu  80 0 10 90 20 0 0 0 0 0\ncpu0 1 1 1 1\n")
    text = generate_latest(registry).decode()
    assert "nv_cpu_utilization 0.7\n" in text
    assert "nv_cpu_memory_total_bytes 1.024e+06\n" in text
    assert "nv_cpu_memory_used_bytes 614400.0\n" in text
