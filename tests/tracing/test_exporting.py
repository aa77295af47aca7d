"""What becomes of spans in one process: the variables that ask for them, and exporters that fail or hang."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from framemesh.errors import ConfigurationError
from framemesh.telemetry import tracing
from tests.tracing.collector import Collector, collecting
from tests.tracing.conftest import until


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the variables name."""
    with collecting() as collector:
        for name, value in collector.variables.items():
            monkeypatch.setenv(name, value)
        yield collector


def outcomes() -> dict[str, float]:
    registry = CollectorRegistry()
    tracing.register(registry)
    lines = [line for line in generate_latest(registry).decode().splitlines() if line.startswith("framemesh_trace")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines if "_total" in line}


def begin(count: int) -> None:
    for _ in range(count):
        with tracing.span("work", parent={}):
            pass


async def test_spans_arrive_under_the_services_name(listener: Collector) -> None:
    with tracing.started("model_server"):
        begin(3)
        # The collector has the spans before its reply lets the exporter count them.
        await until(lambda: outcomes() == {"exported": 3, "failed": 0, "dropped": 0})
    assert {span.service for span in listener.spans} == {"framemesh-model-server"}


async def test_what_waits_is_sent_when_the_block_ends(listener: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    with tracing.started("gateway"):
        begin(3)
    assert len(listener.named("work")) == 3


def test_nothing_is_a_span_outside_of_a_trace(listener: Collector) -> None:
    with tracing.started("gateway"), tracing.span("alone"):
        assert tracing.headers() == {}
        assert tracing.ids() == {}
        assert tracing.exemplar() is None
    assert listener.spans == []


def test_an_error_that_leaves_a_span_marks_it_and_takes_no_secret_along(listener: Collector) -> None:
    with tracing.started("gateway"), pytest.raises(ValueError, match="wrong"), tracing.span("work", parent={}):
        raise ValueError("wrong: nats://u:hunter2@nats:4222")
    assert [(span.failed, span.error) for span in listener.spans] == [(True, "ValueError: wrong: nats://***@nats:4222")]


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"},
    ],
    ids=lambda variables: "-".join(variables.values()),
)
def test_the_standard_variables_turn_traces_off(
    variables: dict[str, str], listener: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with tracing.started("gateway"):
        begin(3)
        assert tracing.exemplar() is None
    assert listener.spans == []


def test_the_standard_variables_name_the_service_and_pick_the_exporter() -> None:
    code = """
from framemesh.telemetry import tracing
with tracing.started("gateway"), tracing.span("work", parent={}):
    pass
"""
    own = {"OTEL_TRACES_EXPORTER": "console", "OTEL_SERVICE_NAME": "porch"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **own}, capture_output=True, text=True, check=True, timeout=60
    )
    assert '"name": "work"' in done.stdout
    assert '"service.name": "porch"' in done.stdout


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "no exporter 'zipkin' of traces is installed"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "pigeon"}, "no exporter 'otlp' over pigeon"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_MAX_QUEUE_SIZE": "many"}, "OTEL_"),
    ],
)
def test_variables_that_cannot_work_are_told(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=words), tracing.started("gateway"):
        pass


async def test_a_collector_that_hangs_fills_the_queue_and_then_spans_are_dropped(
    listener: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
    listener.answering.clear()
    with tracing.started("gateway"):
        begin(100)
        counted = outcomes()
        assert counted["dropped"] >= 100 - 16 - 8  # one batch may have left the queue
        assert counted["exported"] == counted["failed"] == 0
    # Leaving has not waited for the answer, which would come in ten minutes.


async def test_a_collector_that_comes_back_gets_what_comes_then(
    listener: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    listener.stop()
    with capture_logs() as lines, tracing.started("gateway"):
        for failed in (1, 2):
            begin(1)
            await until(lambda failed=failed: outcomes()["failed"] == failed)  # type: ignore[misc]
        listener.start()
        while not outcomes()["exported"]:  # the exporter may give up more before it connects again
            ended = sum(outcomes().values())
            begin(1)
            await until(lambda ended=ended: sum(outcomes().values()) > ended)  # type: ignore[misc]
    events = [line["event"] for line in lines if line["event"].startswith("traces.")]
    assert events == ["traces.not_exported", "traces.exported_again"]


def test_without_opentelemetry_installed_a_service_starts_and_says_so() -> None:
    code = """
import sys
sys.modules["opentelemetry"] = None
from framemesh.telemetry import tracing
with tracing.started("gateway"), tracing.span("work", parent={}):
    print("works")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OTEL_TRACES_EXPORTER": "console"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "traces.off" in done.stdout
    assert "framemesh[tracing]" in done.stdout
    assert "works" in done.stdout
