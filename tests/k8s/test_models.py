"""A model as one short file: what it comes to is what the deployer makes of the same wish."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.kubernetes import api, marks
from deployer.kubernetes.rendering import rendered
from deployer.kubernetes.settings import ClusterSettings
from framemesh.specs import complete
from framemesh.v1.model_pb2 import ModelSpec
from tests.k8s.rendering import K8S, Object, find, pod_of, render

MODEL, SOURCE = "vit-base", "google/vit-base-patch16-224"


def changed(folder: Path, change: Callable[[str], str]) -> list[Object]:
    """The model's objects, after a change of its file."""
    text = (K8S / "models" / MODEL / "kustomization.yaml").read_text()
    (folder / "k8s").symlink_to(K8S)
    (folder / "kustomization.yaml").write_text(change(text.replace("../../model", "k8s/model")))
    return render(folder)


def only(found: list[Object], kind: str) -> Object:
    (one,) = [made for made in found if made["kind"] == kind]
    return one


def version_of(found: list[Object]) -> str:
    return str(only(found, "Job")["metadata"]["labels"][marks.VERSION_LABEL])


def compared(made: Object) -> Object:
    """An object with what may differ taken out: who made it, and the version in names."""
    template = made["spec"].get("template", {"metadata": {"labels": {}}})
    for place in (made["metadata"], template["metadata"]):
        place["labels"] = {
            name: value
            for name, value in place["labels"].items()
            if name not in {marks.OWNER_LABEL, marks.VERSION_LABEL}
        }
    if made["kind"] == "Job":
        del made["metadata"]["name"]
    return made


def as_it_starts(made: Object, words: dict[str, str]) -> Object:
    """An object as the kubelet reads it: words of the ConfigMap and of variables put where they are named."""
    for container in pod_of(made).get("containers", []):
        known = words | {one["name"]: one["value"] for one in container["env"] if "value" in one}

        def put(text: str, known: dict[str, str] = known) -> str:
            return re.sub(r"\$\((\w+)\)", lambda found: known[found[1]], text)

        if "args" in container:
            container["args"] = [put(one) for one in container["args"]]
        container["env"] = [
            one | {"value": put(one["value"])} if "value" in one else one
            for one in container["env"]
            if one["name"] not in {"NAME", "VERSION"}
        ]
        container["envFrom"] = [
            one for one in container["envFrom"] if not one.get("configMapRef", {}).get("name", "").startswith("model-")
        ]
    return made


def test_it_is_what_framemesh_render_and_the_deployer_make_of_the_same_wish() -> None:
    ours = render(f"models/{MODEL}")
    spec = complete(ModelSpec(name=MODEL, source=SOURCE, replicas=2))
    theirs = rendered(ClusterSettings(max_replicas=6), spec)
    version, words = version_of(ours), only(ours, "ConfigMap")["data"]
    for made in theirs:
        kind, name = made["kind"], made["metadata"]["name"]
        same = as_it_starts(only(ours, kind) if kind == "Job" else find(ours, kind, name), words)
        text = json.dumps(compared(same)).replace(version, marks.version(spec))
        assert json.loads(text) == compared(made), f"{kind}/{name}"
    assert len(ours) == len(theirs) + 1


def test_another_source_in_its_one_place_is_another_version_and_another_job_and_a_rollout(tmp_path: Path) -> None:
    before = render(f"models/{MODEL}")
    after = changed(tmp_path, lambda text: text.replace(SOURCE, "facebook/dinov2-small"))
    assert version_of(before) != version_of(after)
    assert only(before, "Job")["metadata"]["name"] != only(after, "Job")["metadata"]["name"]
    pods = [find(found, "Deployment", f"model-{MODEL}")["spec"]["template"] for found in (before, after)]
    assert pods[0] != pods[1]
    for kind in ("Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"):
        assert [one for one in before if one["kind"] == kind] == [one for one in after if one["kind"] == kind]


def test_more_servers_are_no_new_version(tmp_path: Path) -> None:
    more = changed(tmp_path, lambda text: text.replace("least=2, most=6", "least=4, most=12"))
    scaler = only(more, "HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (4, 12)
    assert version_of(more) == version_of(render(f"models/{MODEL}"))


@pytest.mark.parametrize("name", ["m", "a" * 40, "yolo-v8-n"])
def test_its_name_is_everywhere_where_it_must_be(tmp_path: Path, name: str) -> None:
    found = changed(tmp_path, lambda text: text.replace(f"name={MODEL}", f"name={name}"))
    text = str(found)
    assert MODEL not in text.replace(SOURCE, "")
    assert "model-x" not in text
    names = [made["metadata"]["name"] for made in found]
    assert all(one.startswith(f"model-{name}") and len(one) <= 63 - 6 for one in names)
    assert find(found, "Deployment", f"model-{name}")["spec"]["selector"]["matchLabels"] == marks.selector(name)


def test_the_deployers_role_is_what_it_says_that_it_needs(local: list[Object]) -> None:
    rules = find(local, "Role", "deployer")["rules"]
    role = {(rule["apiGroups"][0], rule["resources"][0]): set(rule["verbs"]) for rule in rules}
    assert role == {(kind.group, kind.plural): set(kind.verbs) for kind in api.PERMISSIONS}
