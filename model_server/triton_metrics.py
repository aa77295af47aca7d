"""Triton's names for what the server counts, so that the dashboards and autoscalers made for it work as they are.

Python's library appends `_total` to a counter's name, and then no panel finds it: so counters are exported without a
type, which Prometheus's own functions don't need.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.registry import Collector

from model_server.metrics import ModelServerMetrics
from model_server.totals import Totals, served_versions, totals

_COUNTER = "unknown"
_GAUGE = "gauge"

FAILURE = "nv_inference_request_failure"


@dataclass(frozen=True, slots=True)
class TritonMetric:
    """One metric by Triton's name.

    Attributes:
        name: The name, whole.
        meaning: What it says.
        kind: As Prometheus is told.
        labels: The names of its labels.
    """

    name: str
    meaning: str
    kind: str = _COUNTER
    labels: tuple[str, ...] = ("model", "version")

    def family(self) -> Metric:
        """The metric, without samples."""
        return Metric(self.name, self.meaning, self.kind)


_OF_MODEL: tuple[tuple[TritonMetric, Callable[[Totals], float]], ...] = (
    (TritonMetric("nv_inference_request_success", "Requests that were answered."), lambda t: t.succeeded),
    (TritonMetric("nv_inference_count", "Images that ran."), lambda t: t.images),
    (TritonMetric("nv_inference_exec_count", "Batches that ran."), lambda t: t.batches),
    (
        TritonMetric("nv_inference_request_duration_us", "Of requests that were answered, from arrival to answer."),
        lambda t: t.request_seconds * 1e6,
    ),
    (
        TritonMetric("nv_inference_queue_duration_us", "Of images, waiting for a worker."),
        lambda t: t.queue_seconds * 1e6,
    ),
    (
        TritonMetric("nv_inference_compute_input_duration_us", "Of images, being made into inputs."),
        lambda t: t.input_seconds * 1e6,
    ),
    (
        TritonMetric("nv_inference_compute_infer_duration_us", "Of images, running; each counts its whole batch."),
        lambda t: t.infer_seconds * 1e6,
    ),
    (
        TritonMetric("nv_inference_compute_output_duration_us", "Of images, being made into answers."),
        lambda t: t.output_seconds * 1e6,
    ),
    (
        TritonMetric("nv_inference_pending_request_count", "Images that wait for a worker.", _GAUGE),
        lambda t: t.waiting,
    ),
    (
        TritonMetric("nv_model_load_duration_secs", "From the server's start to the model's first answer.", _GAUGE),
        lambda t: t.load_seconds,
    ),
)
_FAILURE = TritonMetric(FAILURE, "Requests that weren't answered.", labels=("model", "version", "reason"))
_CPU = TritonMetric(
    "nv_cpu_utilization", "Share of the machine's processors that was busy since the last look.", _GAUGE, ()
)
_MEMORY = TritonMetric("nv_cpu_memory_total_bytes", "The machine's memory.", _GAUGE, ())
_MEMORY_USED = TritonMetric("nv_cpu_memory_used_bytes", "The machine's memory that is not available.", _GAUGE, ())

METRICS = (*(metric for metric, _ in _OF_MODEL), _FAILURE, _CPU, _MEMORY, _MEMORY_USED)
"""All that are exported."""


class TritonCollector(Collector):
    """Reads what was counted whenever Prometheus asks; nothing is counted twice.

    Args:
        metrics: What the server counts.
        proc: Where Linux tells of the machine.
    """

    def __init__(self, metrics: ModelServerMetrics, proc: Path = Path("/proc")) -> None:
        self._metrics = metrics
        self._proc = proc
        self._busy, self._all = 0, 0

    def describe(self) -> Iterator[Metric]:
        """The names, so that a registry doesn't have to collect to know them."""
        for metric in METRICS:
            yield metric.family()

    def collect(self) -> Iterator[Metric]:
        """All metrics; those of a model from when it serves."""
        served = {
            (model, version): totals(self._metrics, model) for model, version in served_versions(self._metrics).items()
        }
        for metric, value in _OF_MODEL:
            family = metric.family()
            for labels, counted in served.items():
                family.add_sample(metric.name, dict(zip(metric.labels, labels, strict=True)), value(counted))
            yield family
        family = _FAILURE.family()
        for labels, counted in served.items():
            for reason, count in counted.failed.items():
                family.add_sample(FAILURE, dict(zip(_FAILURE.labels, (*labels, reason), strict=True)), count)
        yield family
        memory_bytes, available_bytes = self._memory()
        for metric, number in (
            (_CPU, self._utilization()),
            (_MEMORY, memory_bytes),
            (_MEMORY_USED, memory_bytes - available_bytes),
        ):
            family = metric.family()
            family.add_sample(metric.name, {}, number)
            yield family

    def _utilization(self) -> float:
        """From 0 to 1, since the last call."""
        with (self._proc / "stat").open() as lines:
            ticks = [int(number) for number in lines.readline().split()[1:9]]  # guests are in users' own time
        idle = ticks[3] + ticks[4]
        busy, all_ = sum(ticks) - idle, sum(ticks)
        share = (busy - self._busy) / max(1, all_ - self._all)
        self._busy, self._all = busy, all_
        return share

    def _memory(self) -> tuple[int, int]:
        """Bytes of memory in all, and available."""
        sizes = dict(line.split(":") for line in (self._proc / "meminfo").read_text().splitlines())
        return _bytes(sizes["MemTotal"]), _bytes(sizes["MemAvailable"])


def _bytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * 1024
