"""The component `tracing`: every service is told where spans go, and let there."""

from pathlib import Path

import pytest

from framemesh.telemetry import tracing
from tests.k8s.rendering import Object, find, overlay, render

SERVICES = ("gateway", "archiver", "deployer", "ingest")


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    folder = tmp_path_factory.mktemp("traced")
    return render(overlay(folder, resources=("base",), components=("seaweedfs", "test-camera", "tracing")))


def variables(objects: list[Object], service: str) -> dict[str, str]:
    """What a service's container is told, in words and by the map of the lake."""
    (container,) = find(objects, "Deployment", service)["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    for source in container["envFrom"]:
        if source.get("configMapRef", {}).get("name") == "lake":
            told |= find(objects, "ConfigMap", "lake")["data"]
    return told


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_traces_alike(traced: list[Object], service: str) -> None:
    told = {name: value for name, value in variables(traced, service).items() if name.startswith("OTEL_")}
    assert tracing.wanted(told)
    assert told == {
        name: value for name, value in find(traced, "ConfigMap", "lake")["data"].items() if name.startswith("OTEL_")
    }
    assert told["OTEL_TRACES_SAMPLER"] == "parentbased_traceidratio"


def test_the_console_which_has_no_spans_is_told_to_leave_it(traced: list[Object]) -> None:
    assert not tracing.wanted(variables(traced, "console"))


def test_without_the_component_nobody_traces(tmp_path: Path) -> None:
    plain = render(overlay(tmp_path, resources=("base",), components=("seaweedfs", "test-camera")))
    assert not any(tracing.wanted(variables(plain, service)) for service in SERVICES)
