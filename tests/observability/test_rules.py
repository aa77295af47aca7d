"""The alert rules by themselves: as promtool sees them, and as people on call do."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from framemesh.mesh.observing import rules
from tests.k8s.rendering import ROOT
from tests.observability import promtool
from tests.observability.cases import CASES, Case, Series

RUNBOOKS = ROOT / "docs/runbooks"
ALERTS: list[dict[str, Any]] = [rule for group in rules()["groups"] for rule in group["rules"] if "alert" in rule]
NAMES = sorted({alert["alert"] for alert in ALERTS})


@promtool.needed
def test_promtool_finds_nothing_wrong_with_the_rules(tmp_path: Path) -> None:
    done = promtool.run("check", "rules", "--lint=all", "--lint-fatal", promtool.write(tmp_path / "rules.yml", rules()))
    assert done.returncode == 0, done.stdout + done.stderr


@promtool.needed
def test_each_alert_fires_when_it_should_and_not_when_it_should_not(tmp_path: Path) -> None:
    promtool.write(tmp_path / "rules.yml", rules())
    for minutes in (1, 5):  # what looks at hours can be looked at less often
        cases = [case for case in CASES if (case.at > 60) == (minutes > 1)]
        tests = [test for case in cases for test in (_test(case, case.fires, fires=True), _test(case, case.silent))]
        told = {"rule_files": ["rules.yml"], "evaluation_interval": f"{minutes}m", "tests": tests}
        file = tmp_path / f"every-{minutes}m.yml"
        file.write_text(yaml.safe_dump(told, sort_keys=False))
        done = promtool.run("test", "rules", file)
        assert done.returncode == 0, done.stdout + done.stderr


def _test(case: Case, series: Series, *, fires: bool = False) -> dict[str, Any]:
    """The alert of that severity fires, with these labels and no others, or does not."""
    labels = {"alertname": case.alert, "alertstate": "firing", "severity": case.severity}
    sample = f"ALERTS{_selector({**labels, **case.labels})}"
    return {
        "name": f"{case.alert} as {case.severity} {'fires' if fires else 'is silent'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"ALERTS{_selector(labels)}",
                "eval_time": f"{case.at}m",
                "exp_samples": [{"labels": sample, "value": 1}] if fires else [],
            }
        ],
    }


def _selector(labels: dict[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def test_every_alert_of_each_severity_has_a_case() -> None:
    assert {(case.alert, case.severity) for case in CASES} == {
        (alert["alert"], alert["labels"]["severity"]) for alert in ALERTS
    }


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert['alert']}-{alert['labels']['severity']}")
def test_an_alert_tells_people_what_where_and_what_to_do(alert: dict[str, Any]) -> None:
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url", "dashboard"}
    assert alert["alert"].startswith("Framemesh")
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert len(notes["summary"]) < 70
    assert not notes["summary"].endswith(".")
    assert notes["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
    (board,) = re.findall(r"^/d/framemesh-(\w+)", notes["dashboard"])
    assert (ROOT / f"k8s/components/dashboards/{board}.json").exists()


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_page_says_what_it_means_how_to_look_and_how_to_mend(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert re.findall(r"^#+ .*$", page, re.MULTILINE) == [
        f"# {name}", "## What it means", "## How to look", "## How to mend",
    ]  # fmt: skip
    for part in page.split("\n## ")[1:]:
        assert len(part.split("\n", 1)[1].strip()) > 80, part
