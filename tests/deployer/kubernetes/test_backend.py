import asyncio
import json
from copy import deepcopy

import pytest

from deployer.kubernetes import marks
from framemesh.bus import Bus
from framemesh.v1.model_pb2 import DeploymentPhase as Phase
from tests.deployer.kubernetes.apiserver import ApiServer, Fault
from tests.deployer.kubernetes.applying import Object
from tests.deployer.kubernetes.controllers import Controllers, Run, stored
from tests.deployer.kubernetes.deployers import deploying, forget, gone, objects, sources, status, told, unwish, wish

ALL = ["Deployment model-vit", "PodDisruptionBudget model-vit", "Service model-vit", "Service model-vit-pods"]
SERVERS = {marks.NAME_LABEL: marks.SERVER}
FIRST, SECOND = stored("vit", "google/vit"), stored("vit", "google/other")


@pytest.fixture(autouse=True)
async def clean(bus: Bus) -> None:
    await forget(bus)


async def test_a_model_is_prepared_by_a_job_and_then_served(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    async with deploying(nats):
        generation = await wish(bus, "vit=google/vit,replicas=2")
        ready = await told(bus, "vit", "READY", generation)
        assert ready.serving.source == FIRST
        assert ready.serving.model_version == "a" * 40
        assert objects(api) == ALL
        assert sources(api) == [FIRST, FIRST]

        await unwish(bus, "vit")
        await gone(api, bus, "vit")


async def test_what_the_exporter_says_is_told_while_it_works(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployer.kubernetes.changes._LOOK_SECONDS", 0.05)
    share = json.dumps({"step": "downloading", "share": 0.4})
    controllers.exports["google/vit"] = Run((share,) * 1000)
    async with deploying(nats):
        generation = await wish(bus, "vit=google/vit")
        told_now = await told(bus, "vit", "DOWNLOADING", generation)
        assert told_now.progress == pytest.approx(0.4)
        assert told_now.next.spec.source == "google/vit"


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (
            Run((json.dumps({"error": "model source 'google/vit' is not known at the hub"}),), 78),
            "not known at the hub",
        ),
        (Run((), 137, "OOMKilled"), "out of memory: it may have 8Gi"),
    ],
    ids=["no such model", "out of memory"],
)
async def test_a_model_that_can_not_be_prepared_fails_with_its_reason(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str, run: Run, reason: str
) -> None:
    controllers.exports["google/vit"] = run
    async with deploying(nats):
        generation = await wish(bus, "vit=google/vit")
        assert reason in (await told(bus, "vit", "FAILED", generation)).message
        assert sources(api) == []

        del controllers.exports["google/vit"]  # whatever it was is mended
        await told(bus, "vit", "READY", await wish(bus, "vit=google/vit"))


@pytest.mark.parametrize(
    ("stuck", "message"),
    [
        ("no image", "image framemesh-exporter:0.1.0 can't be pulled: manifest unknown"),
        ("0/3 nodes are available: 3 Insufficient memory", "unschedulable: 0/3 nodes are available"),
    ],
)
async def test_what_a_job_waits_for_is_told(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str, stuck: str, message: str
) -> None:
    controllers.exports["google/vit"] = Run(stuck=stuck)
    async with deploying(nats):
        generation = await wish(bus, "vit=google/vit")
        while message not in (await told(bus, "vit", "PENDING", generation)).message:
            await asyncio.sleep(0.01)


async def test_a_hub_that_can_not_be_reached_is_tried_again(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    controllers.exports["google/vit"] = Run((json.dumps({"error": "the hub can't be reached"}),), 75)
    async with deploying(nats):
        generation = await wish(bus, "vit=google/vit")
        while "the hub can't be reached" not in (await told(bus, "vit", "PENDING", generation)).message:
            await asyncio.sleep(0.01)
        del controllers.exports["google/vit"]
        await told(bus, "vit", "READY", generation)


async def test_a_new_version_replaces_the_servers_without_a_gap(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    async with deploying(nats):
        await told(bus, "vit", "READY", await wish(bus, "vit=google/vit,replicas=2"))
        while controllers.least_ready["model-vit"] < 2:  # counted from the first one on
            controllers.least_ready.clear()
            await asyncio.sleep(0.01)
        ready = await told(bus, "vit", "READY", await wish(bus, "vit=google/other,replicas=2"))
        assert ready.serving.source == SECOND
        assert sources(api) == [SECOND, SECOND]
        assert controllers.least_ready["model-vit"] == 2
        assert objects(api) == ALL


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        ("out of memory", "out of memory: it may have 2Gi"),
        ("the model needs another runtime", "the model needs another runtime"),
        ("no image", "can't be pulled"),
    ],
)
async def test_a_version_that_does_not_become_ready_goes_and_the_old_one_serves_on(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str, fate: str, reason: str
) -> None:
    controllers.servers[SECOND] = fate
    async with deploying(nats):
        await told(bus, "vit", "READY", await wish(bus, "vit=google/vit,replicas=2"))
        while controllers.least_ready["model-vit"] < 2:
            controllers.least_ready.clear()
            await asyncio.sleep(0.01)
        back = await told(bus, "vit", "ROLLED_BACK", await wish(bus, "vit=google/other,replicas=2"))
        assert reason in back.message
        assert back.serving.source == FIRST
        assert sources(api) == [FIRST, FIRST]
        assert controllers.least_ready["model-vit"] == 2
        assert objects(api) == ALL

        del controllers.servers[SECOND]  # mended, and asked for again
        await told(bus, "vit", "READY", await wish(bus, "vit=google/other,replicas=2"))
        assert sources(api) == [SECOND, SECOND]


async def test_servers_that_the_cluster_refuses_fail_with_its_reason(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    controllers.quota = 0
    async with deploying(nats):
        failed = await told(bus, "vit", "FAILED", await wish(bus, "vit=google/vit"))
        assert "exceeded quota" in failed.message


async def test_servers_of_a_first_version_that_answer_stay_until_there_is_room_for_all(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployer.reconciling._REFUSED_AGAIN_SECONDS", (0.05, 0.1))
    controllers.quota = 2
    async with deploying(nats):
        generation = await wish(bus, "vit=google/vit,replicas=3")
        assert "exceeded quota" in (await told(bus, "vit", "FAILED", generation)).message
        assert sources(api) == [FIRST] * 2
        some = {pod["metadata"]["uid"] for pod in api.store.all("pods", **SERVERS)}

        controllers.quota = 3
        await told(bus, "vit", "READY", generation)
        assert some < {pod["metadata"]["uid"] for pod in api.store.all("pods", **SERVERS)}
        assert objects(api) == ALL


async def test_a_model_is_scaled_to_none_and_back(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    async with deploying(nats):
        for replicas in (1, 3, 1, 0, 2):
            await told(bus, "vit", "READY", await wish(bus, f"vit=google/vit,replicas={replicas}"))
            assert sources(api) == [FIRST] * replicas
        assert sum(request.endswith("jobs/model-vit") for request in api.requests) == 0
        made = [request for request in api.requests if request.startswith("PATCH jobs/")]
        assert len(made) == 1  # only the first asked the hub


async def test_a_model_that_could_not_be_exported_is_served_by_the_image_with_torch(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    controllers.exports["google/vit"] = Run(runtime="torch")
    async with deploying(nats, exporter_image="exporter:1"):
        await told(bus, "vit", "READY", await wish(bus, "vit=google/vit"))
        (pod,) = api.store.all("pods", **SERVERS)
        assert pod["spec"]["containers"][0]["image"] == "exporter:1"


async def test_load_may_add_servers_where_that_is_set_and_they_are_left(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    async with deploying(nats, max_replicas=5):
        await told(bus, "vit", "READY", await wish(bus, "vit=google/vit,replicas=2"))
        scaler = api.store.objects["horizontalpodautoscalers", "model-vit"]
        assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 5)

        busy = deepcopy(api.store.objects["deployments", "model-vit"])
        busy["spec"]["replicas"] = 4  # as the autoscaler does
        api.store.put("deployments", "model-vit", busy)
        await told(bus, "vit", "READY", await wish(bus, "vit=google/other,replicas=3"))
        assert sources(api) == [SECOND] * 4
        assert api.store.objects["horizontalpodautoscalers", "model-vit"]["spec"]["minReplicas"] == 3

        await told(bus, "vit", "READY", await wish(bus, "vit=google/other,replicas=5"))
        assert objects(api) == ALL  # nothing is left to scale


async def test_more_servers_than_load_may_add_are_not_undone_by_the_autoscaler_of_before(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    async with deploying(nats, max_replicas=4):
        await told(bus, "vit", "READY", await wish(bus, "vit=google/vit,replicas=2"))
        await told(bus, "vit", "READY", await wish(bus, "vit=google/vit,replicas=5"))
        assert sources(api) == [FIRST] * 5
        assert objects(api) == ALL


async def test_a_foreign_object_of_the_same_name_is_told_and_left(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    theirs = {"metadata": {"labels": {"app": "shop"}}, "spec": {"ports": [{"port": 80}]}}
    api.store.put("services", "model-vit", deepcopy(theirs))
    async with deploying(nats):
        generation = await wish(bus, "vit=google/vit")
        assert "Service model-vit already" in (await told(bus, "vit", "FAILED", generation)).message
        await unwish(bus, "vit")
        while await status(bus, "vit"):
            await asyncio.sleep(0.01)
    assert objects(api) == ["Service model-vit"]
    assert api.store.objects["services", "model-vit"]["spec"] == theirs["spec"]


async def test_a_model_whose_service_would_be_another_models_is_told_and_leaves_it(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    async with deploying(nats):
        await told(bus, "vit", "READY", await wish(bus, "vit=google/vit"))
        failed = await told(bus, "vit-pods", "FAILED", await wish(bus, "vit-pods=google/other"))
        assert "Service model-vit-pods already that is not this model's" in failed.message
        assert objects(api) == ALL
        assert api.store.objects["services", "model-vit-pods"]["spec"]["selector"][marks.MODEL_LABEL] == "vit"


async def test_what_others_delete_or_change_is_mended(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployer.kubernetes.backend._MEND_SECONDS", 0.05)
    async with deploying(nats):
        await told(bus, "vit", "READY", await wish(bus, "vit=google/vit"))
        api.store.remove("services", "model-vit")
        edited = deepcopy(api.store.objects["deployments", "model-vit"])
        edited["spec"]["template"]["spec"]["containers"][0]["image"] = "somebody:latest"
        api.store.put("deployments", "model-vit", edited)
        async with asyncio.timeout(30):
            while objects(api) != ALL or "somebody" in json.dumps(api.store.all("deployments")):
                await asyncio.sleep(0.01)


async def test_what_the_cluster_makes_of_an_object_is_not_fought_over(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    def normalise(found: Object) -> None:
        for container in found.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
            container["resources"]["requests"]["cpu"] = "500m"

    api.admit = normalise
    async with deploying(nats, server_cpu="0.5"):
        await told(bus, "vit", "READY", await wish(bus, "vit=google/vit"))
    assert sum(request == "PATCH deployments/model-vit" for request in api.requests) == 1


async def test_models_go_their_ways_while_another_fails(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    controllers.exports["google/vit"] = Run(stuck="no image")
    async with deploying(nats):
        await wish(bus, "vit=google/vit")
        await told(bus, "clip", "READY", await wish(bus, "clip=openai/clip"))


async def test_an_api_server_that_is_busy_broken_and_restarted_only_delays_a_deployment(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployer.kubernetes.api._PAUSES", (0.01,) * 5)
    faults = [Fault(429, retry_after="0"), Fault(500), Fault(), Fault(done=True)]
    api.fault = lambda number: faults[number % 4] if number % 2 else None
    async with deploying(nats):
        generation = await wish(bus, "vit=google/vit,replicas=2")
        while not api.store.all("jobs"):
            await asyncio.sleep(0.01)
        await api.stop()
        await api.start()
        ready = await told(bus, "vit", "READY", generation)
    assert ready.phase == Phase.DEPLOYMENT_PHASE_READY
    assert objects(api) == ALL


async def test_two_deployers_at_once_come_to_the_same_end(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    controllers.servers[SECOND] = "out of memory"
    async with deploying(nats), deploying(nats):
        await told(bus, "vit", "READY", await wish(bus, "vit=google/vit,replicas=2"))
        await told(bus, "vit", "ROLLED_BACK", await wish(bus, "vit=google/other,replicas=1"))
        async with asyncio.timeout(60):
            while (objects(api), sources(api)) != (ALL, [FIRST]):
                await asyncio.sleep(0.01)
        await unwish(bus, "vit")
        await gone(api, bus, "vit")


async def test_the_role_grants_all_that_is_used_and_no_more(
    api: ApiServer, controllers: Controllers, bus: Bus, nats: str
) -> None:
    controllers.exports["google/vit"] = Run((json.dumps({"step": "exporting", "share": 0.0}),))
    async with deploying(nats, max_replicas=5):
        await told(bus, "vit", "READY", await wish(bus, "vit=google/vit,replicas=2"))
        await told(bus, "vit", "READY", await wish(bus, "vit=google/other,replicas=2"))
        await unwish(bus, "vit")
        await gone(api, bus, "vit")
    assert api.used == api.allowed
