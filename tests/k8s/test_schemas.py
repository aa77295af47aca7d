"""Every object that we ship, by Kubernetes' own schemas of the oldest version that we support and of the newest."""

import json
from pathlib import Path

import kubernetes_validate
import pytest

from tests.k8s.rendering import K8S, Object, named, overlay, render

OLDEST = "1.26"
NEWEST = kubernetes_validate.latest_version()
OTHERS = {"Certificate", "PodMonitor", "PrometheusRule", "ScaledObject"}
"""Kinds that cert-manager, the Prometheus operator and KEDA define: Kubernetes has no schema of theirs."""


@pytest.fixture(scope="module")
def everything(local: list[Object], production: list[Object], tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    minio = overlay(tmp_path_factory.mktemp("minio"), resources=("base",), components=("minio", "test-camera"))
    models = [made for path in sorted((K8S / "models").iterdir()) for made in render(path)]
    found = [*local, *production, *render(minio), *models]
    return list({json.dumps(made, sort_keys=True): made for made in found}.values())


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_accepts_every_object(everything: list[Object], version: str) -> None:
    for made in everything:
        if made["kind"] not in OTHERS:
            kubernetes_validate.validate(made, version, strict=True)


def test_every_other_kind_is_known(everything: list[Object]) -> None:
    assert {made["kind"] for made in everything if "." in made["apiVersion"].split("/")[0]} - OTHERS <= {
        "NetworkPolicy",
        "Role",
        "RoleBinding",
    }


def test_what_is_misspelt_is_noticed(local: list[Object]) -> None:
    for made in render("overlays/local"):
        if named(made) == "Deployment/gateway":
            made["spec"]["template"]["spec"]["terminationGracePeriod"] = 60
            with pytest.raises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(made, NEWEST, strict=True)


def test_every_folder_of_models_is_one_short_file() -> None:
    for folder in (K8S / "models").iterdir():
        assert [path.name for path in folder.iterdir()] == ["kustomization.yaml"]
        assert len((folder / "kustomization.yaml").read_text().splitlines()) <= 20


def test_no_rendered_copy_is_kept() -> None:
    kept: list[Path] = [path for path in K8S.rglob("*.yaml") if path.stat().st_size > 20_000]
    assert kept == []
