"""A Prometheus server beside the mesh, with our rules: `framemesh up --observe`."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import aiohttp
import yaml
from rich.console import Console
from rich.text import Text

from framemesh.errors import ConfigurationError
from framemesh.mesh.servers import HOST
from framemesh.mesh.supervision import ProcessSpec, Supervisor

_CHECKOUT = Path(__file__).parents[2]
_RULES = _CHECKOUT / "k8s/components/alerts"
_DASHBOARDS = _CHECKOUT / "k8s/components/dashboards"
_TARGETS_FILE = "targets.json"
_RETENTION = ("--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=1GB")
_INSTALL = (
    "--observe: there is no `prometheus` here, so nothing is recorded: install it (Debian's package `prometheus`, "
    "`brew install prometheus`, or a download of prometheus.io on the PATH) and start again"
)

Rules = dict[str, list[dict[str, Any]]]
"""A file of rules as Prometheus reads it."""


def rules() -> Rules:
    """Our rules, as Prometheus without its Kubernetes operator wants them."""
    files = (yaml.safe_load(path.read_text()) for path in sorted(_RULES.glob("*.yaml")))
    return {"groups": [group for file in files if file["kind"] == "PrometheusRule" for group in file["spec"]["groups"]]}


def prometheus(folder: Path, port: int, *, own_rules: Rules | None = None, scrape_seconds: int = 5) -> ProcessSpec:
    """A Prometheus server on the loopback interface, which scrapes whatever `write_targets` says.

    Args:
        folder: For its configuration and what it records: of 15 days, or 1 GB, whichever is less.
        port: Where it listens.
        own_rules: In place of ours.
        scrape_seconds: How often it asks every service, and looks at the rules.

    Raises:
        ConfigurationError: There is no Prometheus here; the message says how to get one.
    """
    found = shutil.which("prometheus")
    if found is None:
        raise ConfigurationError(_INSTALL)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yml").write_text(yaml.safe_dump(own_rules or rules(), sort_keys=False))
    every = f"{scrape_seconds}s"
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "framemesh", "file_sd_configs": [{"files": [_TARGETS_FILE]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config, sort_keys=False))

    async def ready() -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    argv = (
        found, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}", "--enable-feature=exemplar-storage", "--log.level=warn", *_RETENTION,
    )  # fmt: skip
    return ProcessSpec("prometheus", argv, {}, ready)


def write_targets(folder: Path, pages: Mapping[str, str]) -> None:
    """Have Prometheus scrape these and no others, from now on.

    Args:
        folder: Prometheus's.
        pages: Addresses of services' pages by process name, as `mesh.json` has them.
    """
    targets = [
        {"targets": [address], "labels": {"service": _service(process), "process": process}}
        for process, address in sorted(pages.items())
    ]
    fresh = folder / f".{_TARGETS_FILE}"
    fresh.write_text(json.dumps(targets, indent=2))
    fresh.rename(folder / _TARGETS_FILE)


async def start(folder: Path, port: int, pages: Mapping[str, str], supervisor: Supervisor, console: Console) -> str:
    """Start Prometheus, and return its URL; where it isn't installed, say how to get it, and return nothing.

    Raises:
        ConfigurationError: It is installed, and can't work.
    """
    try:
        server = prometheus(folder, port)
    except ConfigurationError as error:
        console.print(Text(str(error), "yellow"))
        return ""
    write_targets(folder, pages)
    await supervisor.start(server)
    url = f"http://{HOST}:{port}"
    console.print(f"Prometheus is on {url}; Grafana with our dashboards on top:", soft_wrap=True)
    console.print(Text(f"  {_grafana_command(url)}"), soft_wrap=True)
    return url


def _grafana_command(prometheus_url: str) -> str:
    return (
        f"docker run --rm --network host -e GF_SERVER_HTTP_ADDR={HOST} -e FRAMEMESH_PROMETHEUS_URL={prometheus_url} "
        f"-v {quote(f'{_DASHBOARDS}/provisioning:/etc/grafana/provisioning:ro')} "
        f"-v {quote(f'{_DASHBOARDS}:/var/lib/grafana/dashboards:ro')} grafana/grafana:11.6.0"
    )


def _service(process: str) -> str:
    """A service's name as pods have it in `app.kubernetes.io/name`."""
    return "model-server" if process.startswith("model-") else process
