"""The deployer killed after each step of a whole life of a model, and followed by another, which knows nothing.

A step is a request that changes something; `FRAMEMESH_KILLS=all` kills it after each that only asks, too.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from deployer.kubernetes.api import connected
from deployer.kubernetes.backend import KubernetesModels
from deployer.kubernetes.settings import ClusterSettings
from deployer.ledger import Ledger
from deployer.metrics import DeployerMetrics
from deployer.reconciling import Parts, Reconciler
from framemesh.bus import Bus
from framemesh.bus.streams import DEPLOYMENTS_BUCKET
from framemesh.settings import ModelStoreSettings
from framemesh.v1.model_pb2 import DeploymentStatus
from framemesh.waiting import cancelled
from tests.deployer.kubernetes.apiserver import ApiServer, Fault
from tests.deployer.kubernetes.controllers import Controllers, Run, stored
from tests.deployer.kubernetes.deployers import forget, gone, objects, sources, told, unwish, wish
from tests.deployer.kubernetes.test_backend import ALL

BROKEN = "google/broken"
LIFE = [
    ("vit=google/vit,replicas=2", "READY", [stored("vit", "google/vit")] * 2),
    ("vit=google/other,replicas=1", "READY", [stored("vit", "google/other")]),
    (f"vit={BROKEN}", "ROLLED_BACK", [stored("vit", "google/other")]),
    ("vit=google/unknown,replicas=2", "ROLLED_BACK", [stored("vit", "google/other")] * 2),
]
"""What is wanted one after the other, what is told in the end, and what serves then."""

NO_STORE = ModelStoreSettings.model_construct()
EVERY_REQUEST = os.environ.get("FRAMEMESH_KILLS") == "all"


@asynccontextmanager
async def mortal(bus: Bus) -> AsyncIterator[None]:
    """A deployer's parts around the block, which end as if killed: nothing is written or tidied any more."""
    ledger = Ledger(bus, DEPLOYMENTS_BUCKET, DeploymentStatus)
    await ledger.open()
    async with connected("framemesh") as cluster:
        models = KubernetesModels(cluster, ClusterSettings())
        reconciler = Reconciler(bus, Parts(models, ledger, NO_STORE, DeployerMetrics(CollectorRegistry())))
        tasks = [asyncio.create_task(part.run()) for part in (ledger, models, reconciler)]
        try:
            yield
        finally:
            await cancelled(*tasks)


async def killed_after(api: ApiServer, bus: Bus, number: int, ends: asyncio.Task[object]) -> bool:
    """Have a wish fulfilled by a deployer that is killed after one step more than that, and by a next one; whether it
    was."""
    killed = asyncio.Event()
    steps = 0

    def fault(_: int) -> Fault | None:
        nonlocal steps
        if killed.is_set():
            return Fault()  # what it may send before it is gone is never done
        steps += EVERY_REQUEST or not api.requests[-1].startswith("GET")
        if steps <= number:
            return None
        killed.set()
        return Fault(done=True)

    api.fault = fault
    async with mortal(bus):
        dying = asyncio.create_task(killed.wait())
        await asyncio.wait((dying, ends), return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
    api.fault = lambda _: None
    async with mortal(bus):
        await ends
    return killed.is_set()


@pytest.mark.timeout(1800 if EVERY_REQUEST else 300)
async def test_killed_after_any_step_it_ends_in_the_right_state_with_nothing_left_over(
    api: ApiServer, controllers: Controllers, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployer.kubernetes.changes._LOOK_SECONDS", 0.2)
    controllers.servers[stored("vit", BROKEN)] = "out of memory"
    controllers.exports["google/unknown"] = Run(code=78)
    number, killed = 0, True
    while killed:
        await forget(bus)
        killed = False
        for text, phase, serving in LIFE:
            generation = await wish(bus, text)
            ends = asyncio.create_task(told(bus, "vit", phase, generation))
            killed |= await killed_after(api, bus, number, ends)
            assert (objects(api), sources(api)) == (ALL, serving), (number, text)
        await unwish(bus, "vit")
        killed |= await killed_after(api, bus, number, asyncio.create_task(gone(api, bus, "vit")))
        assert not api.store.objects, number
        number += 1
    assert number > len(LIFE)  # or it was hardly ever killed
