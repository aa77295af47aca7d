"""The Secrets that users make for a mesh."""

import json
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest

from framemesh.rpc.tokens import Role, load_tokens
from k8s.make_secrets import LAKE_RIGHTS, NATS_USERS, made
from tests.k8s.rendering import K8S

KEYS = {"FRAMEMESH_S3_ACCESS_KEY": "own-key", "FRAMEMESH_S3_SECRET_KEY": "own-secret"}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(K8S / "make_secrets.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_they_are_a_list_that_kubectl_creates() -> None:
    printed = json.loads(run("--namespace", "cameras").stdout)
    assert (printed["apiVersion"], printed["kind"]) == ("v1", "List")
    for secret in printed["items"]:
        kubernetes_validate.validate(secret, "1.26", strict=True)
        assert secret["metadata"]["namespace"] == "cameras"
    assert {secret["metadata"]["name"] for secret in printed["items"]} == {
        "nats", "gateway-tokens", "s3", *NATS_USERS, *LAKE_RIGHTS,
    }  # fmt: skip


def test_they_are_made_up_anew_each_time_and_used_once() -> None:
    def values(secrets: dict[str, dict[str, str]]) -> list[str]:
        return [value for name in LAKE_RIGHTS for value in secrets[name].values()]

    first, second = values(made("seaweedfs", {})), values(made("seaweedfs", {}))
    assert len({*first, *second}) == 2 * len(first)


def test_a_camera_agent_gets_no_keys_of_the_lake() -> None:
    for lake in ("seaweedfs", "minio", "external"):
        assert made(lake, KEYS)["ingest"].keys() == {"FRAMEMESH_NATS_URL"}


def test_keys_of_an_external_lake_are_those_of_the_environment() -> None:
    secrets = made("external", {**KEYS, "HF_TOKEN": "hf"})
    assert "s3" not in secrets
    for service in LAKE_RIGHTS:
        assert secrets[service].items() >= KEYS.items()
    assert [name for name, content in secrets.items() if "HF_TOKEN" in content] == ["model-exporter", "model-trainer"]


def test_without_those_it_says_what_to_set() -> None:
    done = run("--lake", "external")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("set FRAMEMESH_S3_ACCESS_KEY")


def test_minio_has_one_user_whom_all_are() -> None:
    secrets = made("minio", {})
    for service in LAKE_RIGHTS:
        assert secrets[service]["FRAMEMESH_S3_ACCESS_KEY"] == secrets["s3"]["MINIO_ROOT_USER"]
        assert secrets[service]["FRAMEMESH_S3_SECRET_KEY"] == secrets["s3"]["MINIO_ROOT_PASSWORD"]


def test_the_gateway_takes_the_tokens(tmp_path: Path) -> None:
    (tmp_path / "tokens.toml").write_text(made("seaweedfs", {})["gateway-tokens"]["tokens.toml"])
    (token,) = load_tokens(tmp_path / "tokens.toml")
    assert (token.name, token.role) == ("admin", Role.ADMIN)


@pytest.mark.parametrize("folder", ["k8s", "docs"])
def test_the_repository_has_none_with_a_value(folder: str) -> None:
    for path in (K8S.parent / folder).rglob("*.y*ml"):
        assert "kind: Secret" not in path.read_text(), path
        assert "secretGenerator" not in path.read_text(), path
