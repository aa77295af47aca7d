"""The closure of the NetworkPolicies: who may talk to whom, and nobody else to anybody."""

import pytest

from tests.k8s import network
from tests.k8s.rendering import Object, named, render

GATEWAY, INGEST, ARCHIVER, DEPLOYER, CONSOLE = (
    f"Deployment/{name}" for name in ("gateway", "ingest", "archiver", "deployer", "console")
)
NATS, LAKE, SERVER = "StatefulSet/nats", "StatefulSet/s3", "Deployment/model-vit-base"

WANTED = {
    *((client, NATS, 4222) for client in (GATEWAY, INGEST, ARCHIVER, DEPLOYER, CONSOLE, SERVER)),
    (NATS, NATS, 6222),
    (GATEWAY, SERVER, 50052),
    (CONSOLE, GATEWAY, 50051),
}


@pytest.fixture(scope="module")
def model() -> list[Object]:
    return render("models/vit-base")


@pytest.fixture(scope="module")
def exporter(model: list[Object]) -> str:
    (job,) = [named(made) for made in model if made["kind"] == "Job"]
    return job


def test_pods_talk_to_whom_they_must_and_to_nobody_else(
    local: list[Object], model: list[Object], exporter: str
) -> None:
    lake = {(client, LAKE, 8333) for client in (GATEWAY, ARCHIVER, DEPLOYER, CONSOLE, SERVER, exporter)}
    assert network.edges([*local, *model]) == WANTED | lake


def test_in_production_too_where_the_lake_is_elsewhere(production: list[Object], model: list[Object]) -> None:
    assert network.edges([*production, *model]) == WANTED


def test_from_the_camera_side_nothing_but_nats_can_be_reached(
    local: list[Object], model: list[Object], exporter: str
) -> None:
    found = network.edges([*local, *model])
    assert network.reachable(found, INGEST) == {NATS}
    assert network.reachable(found, exporter) == {LAKE}
    assert network.reachable(found, LAKE) == set()


def test_only_the_doors_of_gateway_and_console_are_open_to_the_world(local: list[Object], model: list[Object]) -> None:
    open_to_some = {(SERVER, 50052)}  # to pods of other namespaces that are labelled for it
    assert network.from_outside([*local, *model]) == {(GATEWAY, 50051), (CONSOLE, 8080), *open_to_some}


def test_in_production_monitors_and_scalers_reach_what_they_ask(production: list[Object], model: list[Object]) -> None:
    metrics = {(name, 9090) for name in (GATEWAY, INGEST, ARCHIVER, DEPLOYER, CONSOLE, SERVER)}
    doors = {(GATEWAY, 50051), (CONSOLE, 8080), (SERVER, 50052), (NATS, 8222)}
    assert network.from_outside([*production, *model]) == {*doors, *metrics}


def test_only_who_must_leaves_the_cluster(
    local: list[Object], production: list[Object], model: list[Object], exporter: str
) -> None:
    assert network.to_outside([*local, *model]) == {exporter, DEPLOYER}
    assert network.to_outside([*production, *model]) == {exporter, DEPLOYER, GATEWAY, ARCHIVER, CONSOLE, SERVER}


@pytest.mark.parametrize(
    "gone", ["nothing", "lake", "lake-clients", "nats", "nats-clients", "models", "gateway", "console"]
)
def test_a_policy_that_is_taken_away_is_noticed(local: list[Object], model: list[Object], gone: str) -> None:
    whole = [*local, *model]
    fewer = [made for made in whole if named(made) != f"NetworkPolicy/{gone}"]
    assert len(fewer) == len(whole) - 1

    def seen(objects: list[Object]) -> tuple[object, ...]:
        return network.edges(objects), network.from_outside(objects), network.to_outside(objects)

    assert seen(fewer) != seen(whole)


def test_a_camera_agent_that_calls_itself_a_user_of_the_lake_is_noticed(local: list[Object]) -> None:
    changed = render("overlays/local")
    for made in changed:
        if named(made) in {"NetworkPolicy/lake-clients", "NetworkPolicy/lake"}:
            for place in (made["spec"]["podSelector"], *_senders(made)):
                for one in place.get("matchExpressions", []):
                    one["values"].append("ingest")
    assert LAKE not in network.reachable(network.edges(local), INGEST)
    assert LAKE in network.reachable(network.edges(changed), INGEST)


def _senders(policy: Object) -> list[Object]:
    return [peer["podSelector"] for rule in policy["spec"].get("ingress", []) for peer in rule["from"]]
