"""Writes docs/reference.md, and the tables of docs/cameras.md, from the classes themselves: `python docs/reference.py`.

A test compares the pages with what this would write.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args, get_origin

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from archiver.metrics import ArchiverMetrics
from archiver.settings import ArchiverSettings
from console.metrics import ConsoleMetrics
from console.settings import ConsoleSettings
from deployer.metrics import DeployerMetrics
from deployer.settings import DeployerSettings
from framemesh.settings import ServiceSettings
from gateway.metrics import GatewayMetrics
from gateway.settings import GatewaySettings
from ingest.masks import Mask
from ingest.metrics import IngestMetrics
from ingest.settings import CameraSettings, IngestSettings
from model_server.metrics import ModelServerMetrics
from model_server.settings import ModelServerSettings
from model_server.triton_metrics import METRICS as TRITON_METRICS

PAGE = Path(__file__).with_name("reference.md")
CAMERAS_PAGE = Path(__file__).with_name("cameras.md")
_MADE = "<!-- Made by `python docs/reference.py`; don't edit. -->"
_END = "<!-- End of what is made. -->"

_SERVICES: dict[str, tuple[type[ServiceSettings], type]] = {
    "archiver": (ArchiverSettings, ArchiverMetrics),
    "console": (ConsoleSettings, ConsoleMetrics),
    "deployer": (DeployerSettings, DeployerMetrics),
    "gateway": (GatewaySettings, GatewayMetrics),
    "ingest": (IngestSettings, IngestMetrics),
    "model_server": (ModelServerSettings, ModelServerMetrics),
}


def page() -> str:
    """The whole page."""
    parts = [
        "# Reference: metrics and settings",
        "Made by `python docs/reference.py` from the classes; don't edit.",
        "## Metrics",
        """Every service serves `/metrics` for Prometheus and `/healthz` on `FRAMEMESH_HTTP_ADDRESS`. Counters end in
`_total`; histograms have `_bucket`, `_sum` and `_count`. The process's own CPU, memory and files are there too.""",
        _table(["metric", "type", "labels", "what it says"], _metrics()),
        "### Triton's names",
        """Model servers show the same counts under the names that dashboards and autoscalers for NVIDIA Triton ask for.
Counters are exported without a type, which keeps their names whole. Durations are cumulative, in microseconds.""",
        _table(["metric", "labels", "what it says"], _triton_metrics()),
    ]
    for service, (settings, _) in _SERVICES.items():
        parts += [
            f"## Settings of `{service}`",
            "Environment variables, read once at the start. Durations in seconds, sizes in bytes.",
            _table(["variable", "default", "what it sets"], _settings(settings)),
        ]
    return "\n\n".join(parts) + "\n"


def cameras_page() -> str:
    """The page of cameras: as it is, with its tables made anew."""
    first, *others = CAMERAS_PAGE.read_text().split(_MADE)
    made = [first]
    models: tuple[type[BaseModel], ...] = (CameraSettings, Mask)
    for model, rest in zip(models, others, strict=True):
        table = _table(["setting", "default", "what it sets"], _fields(model))
        made.append(f"\n\n{table}\n\n{_END}{rest.split(_END, 1)[1]}")
    return _MADE.join(made)


def _metrics() -> list[list[str]]:
    rows = []
    for _, metrics in _SERVICES.values():
        for metric in vars(metrics(CollectorRegistry())).values():
            if isinstance(metric, MetricWrapperBase):
                name = metric._name + ("_total" if metric._type == "counter" else "")  # noqa: SLF001 - no other way
                labels = _code(metric._labelnames)  # noqa: SLF001
                rows.append([f"`{name}`", metric._type, labels, metric._documentation])  # noqa: SLF001
    return rows


def _triton_metrics() -> list[list[str]]:
    return [[f"`{one.name}`", _code(one.labels), one.meaning] for one in TRITON_METRICS]


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _settings(settings: type[ServiceSettings]) -> list[list[str]]:
    return [
        [f"`FRAMEMESH_{name.upper()}`", _default(field), _words(field)] for name, field in settings.model_fields.items()
    ]


def _fields(model: type[BaseModel]) -> list[list[str]]:
    """The fields of what is written as YAML."""
    rows: list[list[str]] = []
    for name, field in model.model_fields.items():
        empty = field.default in {None, ()} or field.default_factory is not None
        words: list[str] = [_words(field)]
        if get_origin(field.annotation) is Literal:
            words.append(f"One of {', '.join(f'`{choice}`' for choice in get_args(field.annotation))}.")
        default = "none" if empty else _default(field)
        rows.append([f"`{name}`", default.lower() if isinstance(field.default, bool) else default, " ".join(words)])
    return rows


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "by the machine"
    return "required" if field.default is PydanticUndefined else f"`{field.default}`"


def _words(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page())
    CAMERAS_PAGE.write_text(cameras_page())
