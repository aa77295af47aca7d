"""Prometheus beside the mesh, as far as no mesh is needed; tests/observability has the rest."""

import json
import re
import shutil
from io import StringIO
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from framemesh.errors import ConfigurationError
from framemesh.mesh import observing
from framemesh.mesh.servers import free_port
from framemesh.mesh.supervision import Supervisor

needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="needs prometheus: Debian's package of that name"
)


async def test_where_it_is_not_installed_it_is_said_how_to_get_it_and_the_mesh_goes_on(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    shown = StringIO()
    assert await observing.start(tmp_path, 1, {}, supervisor, Console(file=shown, width=300)) == ""
    assert "install it (Debian's package `prometheus`" in shown.getvalue()
    assert supervisor.pids() == {}


@needs_prometheus
async def test_it_runs_on_loopback_and_grafana_is_told_of_it_and_of_folders_that_are_there(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    shown = StringIO()
    port = free_port()
    url = await observing.start(
        tmp_path / "p", port, {"gateway": "127.0.0.1:1"}, supervisor, Console(file=shown, width=300)
    )
    assert url == f"http://127.0.0.1:{port}"
    assert set(supervisor.pids()) == {"prometheus"}
    assert f"FRAMEMESH_PROMETHEUS_URL={url} " in shown.getvalue()
    folders = re.findall(r"-v (\S+?):/", shown.getvalue())
    assert len(folders) == 2
    assert all(Path(folder).is_dir() for folder in folders)
    await supervisor.stop("prometheus")


@needs_prometheus
async def test_a_configuration_that_can_not_work_ends_the_start_with_its_reason(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(ConfigurationError, match="data"):
        await observing.start(tmp_path, free_port(), {}, supervisor, Console(file=StringIO()))


def test_targets_are_services_by_the_names_that_pods_have(tmp_path: Path) -> None:
    pages = {"gateway": "127.0.0.1:1", "model-tiny-0": "127.0.0.1:2"}
    observing.write_targets(tmp_path, pages)
    assert json.loads((tmp_path / "targets.json").read_text()) == [
        {"targets": ["127.0.0.1:1"], "labels": {"service": "gateway", "process": "gateway"}},
        {"targets": ["127.0.0.1:2"], "labels": {"service": "model-server", "process": "model-tiny-0"}},
    ]
    observing.write_targets(tmp_path, {})
    assert json.loads((tmp_path / "targets.json").read_text()) == []


@needs_prometheus
def test_what_it_keeps_is_bounded(tmp_path: Path) -> None:
    made = observing.prometheus(tmp_path, 1)
    assert "--storage.tsdb.retention.size=1GB" in made.argv
    assert yaml.safe_load((tmp_path / "rules.yml").read_text()) == observing.rules()
