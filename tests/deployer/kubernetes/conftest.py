"""A cluster of the tests' own: its API server with what the deployer's Role grants, and its controllers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deployer.kubernetes.api import PERMISSIONS, Cluster, connected
from tests.deployer.kubernetes import apiserver
from tests.deployer.kubernetes.apiserver import ApiServer
from tests.deployer.kubernetes.controllers import Controllers

ALLOWED = {(verb, kind.group, kind.plural) for kind in PERMISSIONS for verb in kind.verbs}


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    """An empty cluster, to which `KUBECONFIG` points; whoever does what the Role doesn't grant is refused.

    Its deployer spares neither it nor NATS: half of these tests' time was its pauses.
    """
    monkeypatch.setattr("deployer.kubernetes.changes._CALM_SECONDS", 0.01)
    monkeypatch.setattr("deployer.ledger._BETWEEN_SECONDS", 0.02)
    async with apiserver.serving(ALLOWED) as server:
        config = tmp_path / "kubeconfig"
        config.write_text(apiserver.kubeconfig(server.port))
        monkeypatch.setenv("KUBECONFIG", str(config))
        yield server


@pytest.fixture
async def controllers(api: ApiServer) -> AsyncIterator[Controllers]:
    """What makes its objects live."""
    controllers = Controllers(api.store)
    running = asyncio.create_task(controllers.run())
    yield controllers
    assert not running.done(), running.exception()
    running.cancel()


@pytest.fixture
async def cluster(api: ApiServer) -> AsyncIterator[Cluster]:
    """The client under test."""
    async with connected("framemesh") as cluster:
        yield cluster
