"""Dashboards and rules against a mesh that runs, through a real Prometheus."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from math import isnan
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from framemesh.mesh.observing import rules
from k8s.dashboards.__main__ import BOARDS, FOLDER
from tests.certificates import Pair
from tests.gateway.conftest import until
from tests.observability.faults import QUICK
from tests.observability.site import Site, site

pytestmark = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="needs prometheus: Debian's package of that name"
)

VARIABLES = {"$__rate_interval": "15s", "$__range": "1m", "$camera": ".*", "$model": ".*"}
_METRIC = re.compile(r"(?<![:\w])(?:framemesh|process|nv)_\w+")


def queries() -> list[tuple[str, str, str]]:
    """Every query of every panel as committed: its dashboard, its panel, and the expression."""
    return [
        (board.name, panel["title"], target["expr"])
        for board in BOARDS
        for panel in json.loads((FOLDER / f"{board.name}.json").read_text())["panels"]
        for target in panel.get("targets", [])
    ]


def expressions() -> list[str]:
    """Those, and the rules'."""
    return [expr for _, _, expr in queries()] + [rule["expr"] for group in rules()["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
async def running(
    vit: Path, prepare_ahead: Callable[[Path], None], pair: Pair, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    prepare_ahead(folder / "data")
    async with site(folder, vit, pair) as found:
        yield found


async def test_every_metric_that_a_panel_or_a_rule_uses_is_exported(running: Site) -> None:
    exported: set[str] = set()
    async with aiohttp.ClientSession() as session:

        async def pages() -> list[str] | None:
            """Those of all services; a server has its place in the mesh before it listens, and may give it up."""
            try:
                return [
                    await (await session.get(f"http://{address}/metrics")).text()
                    for address in running.state().http.values()
                ]
            except aiohttp.ClientError:
                return None

        for page in await until(pages):
            for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE):
                parts = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
                exported |= {name + part for part in parts}
    used = {name for expression in expressions() for name in _METRIC.findall(expression)}
    assert len(used) > 60
    assert used - exported == set()


@pytest.mark.parametrize(("board", "panel", "expression"), queries())
async def test_a_panels_query_has_data(running: Site, board: str, panel: str, expression: str) -> None:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression

    async def has_data() -> bool:
        return any(not isnan(float(series["value"][1])) for series in await running.query(expression))

    await until(has_data, seconds=60)


async def test_every_recorded_series_has_a_value(running: Site) -> None:
    for group in rules()["groups"]:
        for rule in group["rules"]:
            if "record" in rule:

                async def has_a_value(name: str = rule["record"]) -> bool:
                    return any(not isnan(float(series["value"][1])) for series in await running.query(name))

                await until(has_a_value, seconds=60)


async def test_prometheus_beside_the_mesh_has_our_rules_and_follows_its_services(running: Site) -> None:
    url = running.state().prometheus_url
    groups = (await running.api("rules", url=url))["groups"]
    assert {rule["name"] for group in groups for rule in group["rules"]} == {
        rule.get("record") or rule["alert"] for group in rules()["groups"] for rule in group["rules"]
    }

    async def targets() -> dict[str, Any]:
        found = (await running.api("targets", url=url, state="active"))["activeTargets"]
        return {one["labels"]["process"]: one for one in found}

    async def follows() -> bool:
        return {name: one["labels"]["instance"] for name, one in (await targets()).items()} == running.state().http

    await running.client.scale("quick", 2)
    await until(lambda: "model-quick-1" in running.state().http, seconds=60)
    await until(follows, seconds=60)
    assert (await targets())["model-quick-1"]["labels"]["service"] == "model-server"
    await running.client.scale("quick", 1)
    await until(lambda: "model-quick-1" not in running.state().http, seconds=60)
    await until(follows, seconds=60)


async def test_a_fault_of_each_of_these_kinds_makes_its_alert_fire(running: Site) -> None:
    async with AsyncExitStack() as stack:
        for fault in QUICK:
            await stack.enter_async_context(fault.begins(running))
        await running.until_fire([name for fault in QUICK for name in fault.alerts])


async def test_prometheus_ends_with_the_mesh(running: Site) -> None:
    """The last test here: nothing runs after it."""
    pid = running.state().processes["prometheus"]
    running.process.terminate()
    async with asyncio.timeout(60):
        assert await running.process.wait() == 0
    assert not psutil.pid_exists(pid)
