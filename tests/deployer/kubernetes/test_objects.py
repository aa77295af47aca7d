import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deployer import worker
from deployer.kubernetes import marks, objects
from deployer.kubernetes.rendering import OWNER, rendered
from deployer.kubernetes.settings import ClusterSettings
from framemesh.errors import ConfigurationError
from framemesh.specs import parse
from framemesh.v1.model_pb2 import ModelSpec, Release, Runtime
from tests.deployer.kubernetes.applying import Object

OLDEST, NEWEST = "1.26", "1.37"
SETTINGS = ClusterSettings(max_replicas=6)
VIT = parse("vit=google/vit-base-patch16-224,replicas=2")
LONGEST = parse(f"{'m' * 40}=google/vit-base-patch16-224,replicas=2")


def made(spec: ModelSpec = VIT, settings: ClusterSettings = SETTINGS) -> dict[str, Object]:
    """What the deployer makes of a model, by kind and name."""
    release = Release(spec=spec, source="lake://models/vit/1")
    every = [
        objects.job(settings, spec, worker.arguments(spec, cache="/cache")),
        objects.deployment(settings, release, replicas=spec.replicas),
        *objects.around(settings, spec.name, replicas=spec.replicas),
    ]
    return {f"{one['kind']} {one['metadata']['name']}": one for one in every}


def pods(spec: ModelSpec = VIT) -> list[Object]:
    return [one["spec"]["template"] for one in made(spec).values() if "template" in one["spec"]]


def texts(content: Any) -> Iterator[str]:
    """Every text in an object."""
    if isinstance(content, dict):
        for value in content.values():
            yield from texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from texts(value)
    elif isinstance(content, str):
        yield content


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("spec", [VIT, LONGEST], ids=["vit", "a name as long as it may be"])
def test_kubernetes_accepts_every_object(version: str, spec: ModelSpec) -> None:
    for found in (*made(spec).values(), *rendered(SETTINGS, spec)):
        kubernetes_validate.validate(found, version, strict=True)


def test_names_and_labels_of_pods_too_fit_into_63_characters() -> None:
    for name, found in made(LONGEST).items():
        suffix = {"Deployment": len("-0123456789-01234"), "Job": len("-01234")}.get(name.split()[0], 0)
        assert len(found["metadata"]["name"]) + suffix <= 63
        assert all(len(value) <= 63 for value in found["metadata"]["labels"].values())


def test_a_model_has_servers_two_services_a_budget_a_scaler_and_a_job() -> None:
    assert list(made()) == [
        f"Job {marks.job_name(VIT)}",
        "Deployment model-vit",
        "Service model-vit",
        "Service model-vit-pods",
        "PodDisruptionBudget model-vit",
        "HorizontalPodAutoscaler model-vit",
    ]


def test_every_object_says_whose_it_is_and_of_which_model() -> None:
    for found in made().values():
        labels = found["metadata"]["labels"]
        assert (labels[marks.OWNER_LABEL], labels[marks.MODEL_LABEL]) == (marks.OWNER, "vit")
        assert found["metadata"]["namespace"] == "framemesh"


def test_everything_that_selects_servers_selects_them_and_no_exporter() -> None:
    found = made()
    deployment = found["Deployment model-vit"]["spec"]
    server, exporter = deployment["template"]["metadata"]["labels"], found[f"Job {marks.job_name(VIT)}"]
    selectors = [
        deployment["selector"]["matchLabels"],
        found["Service model-vit"]["spec"]["selector"],
        found["Service model-vit-pods"]["spec"]["selector"],
        found["PodDisruptionBudget model-vit"]["spec"]["selector"]["matchLabels"],
        *(one["labelSelector"]["matchLabels"] for one in deployment["template"]["spec"]["topologySpreadConstraints"]),
    ]
    for selector in selectors:
        assert selector.items() <= server.items()
        assert not selector.items() <= exporter["spec"]["template"]["metadata"]["labels"].items()


def test_pods_keep_to_the_restricted_standard_and_have_limits_and_no_token() -> None:
    for pod in (template["spec"] for template in pods()):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert container["image"].partition(":")[2] not in {"", "latest"}


def test_secrets_come_by_reference() -> None:
    for pod in (template["spec"] for template in pods()):
        (container,) = pod["containers"]
        values = {entry["name"] for entry in container["env"] if "value" in entry}
        assert not {name for name in values if "S3" in name or "NATS" in name or "TOKEN" in name}
        assert [list(source) for source in container["envFrom"]] == [["configMapRef"], ["secretRef"]]


def test_a_server_that_goes_has_time_to_pause_and_to_drain() -> None:
    pod = made()["Deployment model-vit"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = next(int(one["value"]) for one in container["env"] if one["name"] == "FRAMEMESH_DRAIN_SECONDS")
    assert pod["terminationGracePeriodSeconds"] > pause + drain


def test_no_server_goes_before_another_is_ready() -> None:
    spec = made()["Deployment model-vit"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    startup = spec["template"]["spec"]["containers"][0]["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= spec["progressDeadlineSeconds"]


def test_what_users_write_is_never_taken_for_a_variable_of_the_pod() -> None:
    spec = parse("vit=owner/$(FRAMEMESH_S3_SECRET_KEY),label=$(FRAMEMESH_NATS_URL)")
    release = Release(spec=spec, source="lake://models/vit/$(HOME)")
    found = [
        objects.job(SETTINGS, spec, worker.arguments(spec, cache="/cache")),
        objects.deployment(SETTINGS, release, replicas=1),
    ]
    written = [text.replace("$$", "") for one in found for text in texts(one["spec"]) if "$" in text]
    assert len(written) == 3
    assert not any("$(" in text for text in written)


def test_another_source_is_another_job_and_another_number_of_servers_or_policy_is_not() -> None:
    job = marks.job_name(VIT)
    assert marks.job_name(parse("vit=google/other")) != job
    assert marks.job_name(parse("vit=google/vit-base-patch16-224,revision=v2")) != job
    assert marks.job_name(parse("vit=google/vit-base-patch16-224,replicas=5,policy=every")) == job


def test_other_words_to_look_for_are_another_release_of_the_same_model() -> None:
    cats, dogs = (parse(f"clip=openai/clip,label=a {animal}") for animal in ("cat", "dog"))
    assert marks.job_name(cats) == marks.job_name(dogs)
    assert marks.release_id(Release(spec=cats)) != marks.release_id(Release(spec=dogs))


@pytest.mark.parametrize(
    ("replicas", "running", "allowed"), [(2, 2, 2), (2, 5, 5), (2, 9, 6), (3, 1, 3), (6, 9, 6), (0, 4, 0)]
)
def test_load_may_add_servers_between_what_is_asked_for_and_the_most(replicas: int, running: int, allowed: int) -> None:
    assert objects.allowed_replicas(SETTINGS, replicas, running) == allowed


def test_without_a_most_there_are_as_many_as_asked_for_and_no_scaler() -> None:
    assert objects.allowed_replicas(ClusterSettings(), 2, 5) == 2
    assert "HorizontalPodAutoscaler model-vit" not in made(settings=ClusterSettings())


def test_what_needs_torch_gets_the_image_that_has_it() -> None:
    for spec, runtime, image in (
        (VIT, Runtime.RUNTIME_ONNX, "server:1"),
        (VIT, Runtime.RUNTIME_TORCH, "exporter:1"),  # it could not be exported
        (parse("vit=google/vit,runtime=torch"), Runtime.RUNTIME_UNSPECIFIED, "exporter:1"),
    ):
        settings = ClusterSettings(server_image="server:1", exporter_image="exporter:1")
        found = objects.deployment(settings, Release(spec=spec, runtime=runtime), replicas=1)
        assert found["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_a_folder_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"framemesh export \./model --upload lake://models/vit/1"):
        objects.check(parse("vit=./model"))


def test_rendered_objects_are_the_deployers_but_for_their_owner_and_fit_each_other() -> None:
    found = {one["kind"]: one for one in rendered(SETTINGS, VIT)}
    assert found.keys() == {name.split()[0] for name in made()}
    assert {one["metadata"]["labels"][marks.OWNER_LABEL] for one in found.values()} == {OWNER}
    assert "replicas" not in found["Deployment"]["spec"]  # the autoscaler's
    arguments = found["Job"]["spec"]["template"]["spec"]["containers"][0]["args"]
    variables = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]
    uploaded = arguments[arguments.index("--upload") + 1]
    assert {"name": "FRAMEMESH_MODEL_SOURCE", "value": uploaded} in variables


def test_the_command_renders_yaml_and_says_what_is_wrong() -> None:
    def run(model: str) -> subprocess.CompletedProcess[str]:
        argv = (sys.executable, "-m", "framemesh", "render", model)
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    done = run("vit=google/vit-base-patch16-224,replicas=2")
    assert done.returncode == 0, done.stderr
    printed = list(yaml.safe_load_all(done.stdout))
    assert json.dumps(printed) == json.dumps(rendered(ClusterSettings(), VIT))

    refused = run("vit=./nowhere")
    assert (refused.returncode, refused.stdout) == (78, "")
    assert "no pod can read it" in refused.stderr
