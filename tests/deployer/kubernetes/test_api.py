import asyncio
from copy import deepcopy
from pathlib import Path

import pytest

from deployer.kubernetes import marks
from deployer.kubernetes.api import DEPLOYMENT, POD, SERVICE, Cluster, ClusterUnavailableError, connected
from framemesh.errors import ConfigurationError
from tests.deployer.kubernetes.apiserver import ApiServer, Fault
from tests.deployer.kubernetes.applying import Object


def service(port: int = 1, **spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "model-vit", "namespace": "framemesh", "labels": marks.labels("vit", marks.SERVER)},
        "spec": {"ports": [{"port": port}], **spec},
    }


async def the_service(cluster: Cluster) -> Object:
    (found,) = await cluster.owned(SERVICE, "vit")
    return found


async def test_an_object_is_made_changed_and_deleted_and_loses_fields_that_are_no_longer_wanted(
    api: ApiServer, cluster: Cluster
) -> None:
    await cluster.apply(service(1, type="ClusterIP"), None)
    made = await the_service(cluster)
    assert made["spec"] == {"ports": [{"port": 1}], "type": "ClusterIP"}

    await cluster.apply(service(2), made)
    assert (await the_service(cluster))["spec"] == {"ports": [{"port": 2}]}

    await cluster.delete(SERVICE, "model-vit")
    await cluster.delete(SERVICE, "model-vit")  # gone is gone
    assert await cluster.owned(SERVICE) == []


async def test_what_others_set_on_an_object_stays(api: ApiServer, cluster: Cluster) -> None:
    await cluster.apply(service(1), None)
    changed = deepcopy(await the_service(cluster))
    changed["spec"]["externalTrafficPolicy"] = "Local"
    api.store.put("services", "model-vit", changed)
    await cluster.apply(service(2), changed)
    assert (await the_service(cluster))["spec"] == {"ports": [{"port": 2}], "externalTrafficPolicy": "Local"}


async def test_a_foreign_object_of_the_same_name_is_an_error_and_stays_as_it_is(
    api: ApiServer, cluster: Cluster
) -> None:
    theirs = {"metadata": {"labels": {"app": "shop"}}, "spec": {"ports": [{"port": 80}]}}
    api.store.put("services", "model-vit", theirs)
    before = deepcopy(api.store.objects)
    with pytest.raises(ConfigurationError, match="Service model-vit already that is not this model's"):
        await cluster.apply(service(), None)
    assert api.store.objects == before
    assert await cluster.owned(SERVICE) == []


async def test_an_object_that_somebody_makes_at_the_same_moment_stays_theirs(api: ApiServer, cluster: Cluster) -> None:
    theirs = {"metadata": {"labels": {"app": "shop"}}, "spec": {"ports": [{"port": 80}]}}

    def made_meanwhile(number: int) -> None:
        if api.requests[-1].startswith("PATCH"):
            api.store.put("services", "model-vit", theirs)

    api.fault = made_meanwhile
    with pytest.raises(ClusterUnavailableError, match="somebody else changes it"):
        await cluster.apply(service(), None)
    assert api.store.objects["services", "model-vit"]["spec"] == {"ports": [{"port": 80}]}


async def test_an_object_that_took_the_place_of_the_known_one_is_not_touched(api: ApiServer, cluster: Cluster) -> None:
    await cluster.apply(service(1), None)
    known = await the_service(cluster)
    api.store.remove("services", "model-vit")
    with pytest.raises(ClusterUnavailableError, match="uid mismatch"):
        await cluster.apply(service(2), known)
    assert api.store.all("services") == []

    api.store.put("services", "model-vit", {"metadata": {}, "spec": {"ports": [{"port": 80}]}})
    with pytest.raises(ClusterUnavailableError, match=r"metadata\.uid"):
        await cluster.apply(service(2), known)
    assert api.store.objects["services", "model-vit"]["spec"] == {"ports": [{"port": 80}]}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, retry_after="0"),
        Fault(500),
        Fault(503),
        Fault(),
        Fault(done=True),
    ],
    ids=["busy", "broken", "away", "cut before the deed", "cut after the deed"],
)
async def test_each_call_outlives_a_server_that_is_busy_broken_or_cut_off_once(
    api: ApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr("deployer.kubernetes.api._PAUSES", (0.01, 0.01))
    api.fault = lambda number: fault if number % 2 == 0 else None
    await cluster.apply(service(1), None)
    await cluster.apply(service(2), await the_service(cluster))
    assert (await the_service(cluster))["spec"]["ports"] == [{"port": 2}]
    await cluster.delete(SERVICE, "model-vit")
    assert await cluster.owned(SERVICE) == []


async def test_a_busy_server_is_left_alone_for_as_long_as_it_says(api: ApiServer, cluster: Cluster) -> None:
    clock = asyncio.get_running_loop().time
    times: list[float] = []

    def busy_once(number: int) -> Fault | None:
        times.append(clock())
        return Fault(429, retry_after="2") if number == 0 else None

    api.fault = busy_once
    await cluster.owned(SERVICE)
    assert times[1] - times[0] >= 2.0  # what it asked for, and not the client's own short pause


async def test_a_server_that_is_restarted_is_found_again(api: ApiServer, cluster: Cluster) -> None:
    await cluster.apply(service(1), None)
    await api.stop()
    asking = asyncio.create_task(the_service(cluster))
    await asyncio.sleep(0)
    await api.start()
    assert (await asking)["metadata"]["name"] == "model-vit"


async def test_a_server_that_stays_away_is_told_by_what_could_not_be_done(
    api: ApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployer.kubernetes.api._PAUSES", (0.0, 0.0))
    api.fault = lambda _: Fault(503)
    with pytest.raises(ClusterUnavailableError, match=r"can't list services: .* 503"):
        await cluster.owned(SERVICE)
    assert len(api.requests) == 3


async def test_what_the_role_does_not_grant_is_told_at_once(api: ApiServer, cluster: Cluster) -> None:
    api.allowed.discard(("list", "", "services"))
    try:
        with pytest.raises(ConfigurationError, match=r"cannot list resource 'services'.*Role"):
            await cluster.owned(SERVICE)
    finally:
        api.allowed.add(("list", "", "services"))
    assert len(api.requests) == 1


async def test_a_watch_wakes_at_each_change_and_outlives_cuts_restarts_and_versions_that_are_too_old(
    api: ApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployer.kubernetes.api._WATCH_AGAIN_SECONDS", 0.01)
    woken = asyncio.Event()

    async def wakes(replicas: int) -> None:
        woken.clear()
        known = next(iter(await cluster.owned(DEPLOYMENT)), None)
        wanted = service() | {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": replicas}}
        await cluster.apply(wanted, known)
        await woken.wait()

    watching = asyncio.create_task(cluster.watch(DEPLOYMENT, woken.set))
    await woken.wait()
    await wakes(1)
    await wakes(2)

    seen = api.watches
    api.store.put("pods", "stranger", {"metadata": {}})
    api.store.compact()  # whoever watches is too far behind: 410
    while api.watches == seen:
        await asyncio.sleep(0.01)
    await wakes(3)

    seen = api.watches
    await api.stop()
    await api.start()
    while api.watches == seen:
        await asyncio.sleep(0.01)
    await wakes(4)
    watching.cancel()


async def test_a_pod_that_has_written_nothing_or_is_gone_has_no_lines(api: ApiServer, cluster: Cluster) -> None:
    assert await cluster.last_lines("model-vit-1") == []
    api.store.logs["model-vit-1"] = [str(number) for number in range(100)]
    assert (await cluster.last_lines("model-vit-1"))[-2:] == ["98", "99"]


async def test_without_a_cluster_it_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="KUBECONFIG"):
        async with connected("framemesh"):
            pass


def test_the_kinds_say_what_they_may_do() -> None:
    assert DEPLOYMENT.verbs == ("create", "delete", "get", "list", "patch", "watch")
    assert POD.verbs == ("list", "watch")
