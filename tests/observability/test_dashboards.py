"""The dashboards by themselves: what is committed, and what Grafana's own library makes of it. No Grafana is asked."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from framemesh.mesh.observing import rules
from k8s.dashboards.__main__ import BOARDS, FOLDER, files
from k8s.dashboards.building import Board
from tests.k8s.rendering import find, overlay, render

_PANELS = {"stat", "timeseries"}


def committed(board: Board) -> dict[str, Any]:
    found = json.loads((FOLDER / f"{board.name}.json").read_text())
    assert isinstance(found, dict)
    return found


def panels(board: Board) -> list[dict[str, Any]]:
    return [panel for panel in committed(board)["panels"] if panel["type"] != "row"]


def test_what_is_committed_is_what_the_program_makes() -> None:
    made = files()
    assert set(FOLDER.glob("*.json")) == set(made)
    for path, text in made.items():
        assert path.read_text() == text, "run `make dashboards` and commit"


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_grafanas_library_reads_what_is_committed_and_would_write_the_same(board: Board) -> None:
    found = committed(board)
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(found))) == found
    assert found["uid"] == f"framemesh-{board.name}"
    assert found["tags"] == ["framemesh"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_every_panel_says_what_it_shows_in_which_unit_of_whichever_prometheus(board: Board) -> None:
    assert len(panels(board)) > 5
    for panel in panels(board):
        assert panel["type"] in _PANELS
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len({panel["title"] for panel in panels(board)}) == len(panels(board))


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_panels_stand_beside_each_other_and_never_on_each_other(board: Board) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in committed(board)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_links_lead_to_dashboards_that_have_the_variable() -> None:
    variables = {board.uid: {one["name"] for one in committed(board)["templating"]["list"]} for board in BOARDS}
    assert {name for names in variables.values() for name in names} == {"datasource", "camera", "model"}
    followed = 0
    for board in BOARDS:
        assert committed(board)["links"][0]["tags"] == ["framemesh"]
        for panel in panels(board):
            for link in panel["fieldConfig"]["defaults"].get("links", []):
                ((uid, variable, label),) = re.findall(
                    r"^/d/([\w-]+)\?var-(\w+)=\$\{__field\.labels\.(\w+)\}", link["url"]
                )
                assert variable in variables[uid]
                assert all(f"{{{{{label}}}}}" in target["legendFormat"] for target in panel["targets"]), panel["title"]
                followed += 1
    assert followed > 5


def test_a_grafana_of_ones_own_finds_prometheus_and_the_folder() -> None:
    sources = yaml.safe_load((FOLDER / "provisioning/datasources/framemesh.yaml").read_text())
    (source,) = sources["datasources"]
    assert (sources["apiVersion"], source["type"], source["url"]) == (1, "prometheus", "$FRAMEMESH_PROMETHEUS_URL")
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/framemesh.yaml").read_text())["providers"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "/var/lib/grafana/dashboards")


def test_a_clusters_grafana_finds_each_dashboard_and_prometheus_by_their_labels(tmp_path: Path) -> None:
    made = render(overlay(tmp_path, resources=("base",), components=("pod-monitors", "alerts", "dashboards")))
    for board in BOARDS:
        config = find(made, "ConfigMap", f"grafana-{board.name}")
        assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert config["metadata"]["annotations"]["grafana_folder"] == "framemesh"
        assert config["data"] == {f"{board.name}.json": (FOLDER / f"{board.name}.json").read_text()}
    source = find(made, "ConfigMap", "grafana-datasource")
    assert source["metadata"]["labels"]["grafana_datasource"] == "1"
    assert yaml.safe_load(source["data"]["framemesh.yaml"])["datasources"][0]["type"] == "prometheus"


def test_a_cluster_has_the_same_rules_and_labels_as_one_machine(tmp_path: Path) -> None:
    made = render(overlay(tmp_path, resources=("base",), components=("pod-monitors", "alerts")))
    groups = [group for one in made if one["kind"] == "PrometheusRule" for group in one["spec"]["groups"]]
    assert sorted(groups, key=lambda group: group["name"]) == sorted(rules()["groups"], key=lambda group: group["name"])
    (endpoint,) = find(made, "PodMonitor", "framemesh")["spec"]["podMetricsEndpoints"]
    assert {"targetLabel": "job", "replacement": "framemesh"} in endpoint["relabelings"]
    assert "service" in {one["targetLabel"] for one in endpoint["relabelings"]}
