"""Prints the Secrets of a mesh, made up at this moment: `python k8s/make_secrets.py | kubectl create -f -`.

They are nowhere but in the cluster. `create` refuses where they are there already: passwords that running services know
are not replaced by chance. Each service has one Secret under its own name, with the variables that it alone may know.

With `--lake external` the keys of your S3 server come from FRAMEMESH_S3_ACCESS_KEY and FRAMEMESH_S3_SECRET_KEY.
HF_TOKEN, where it is set, goes to those who prepare models.
"""

import argparse
import json
import os
import secrets
import string
import sys
from collections.abc import Mapping

_LETTERS = string.ascii_letters
_LENGTH = 40

NATS_USERS = {
    "gateway": "gateway",
    "ingest": "ingest",
    "archiver": "archiver",
    "deployer": "deployer",
    "console": "console",
    "model-server": "model",
}
"""Services by name, and who they are in NATS (`base/nats/accounts.conf`)."""

_TABLES = ("frames", "references", "results", "shadows", "corrections")
_OWN = ("Admin", "Read", "Write", "List")  # in SeaweedFS's words, Admin may make the bucket
LAKE_RIGHTS: dict[str, dict[str, tuple[str, ...]]] = {
    "gateway": {"frames": _OWN, "datasets": ("Read", "List")},
    "archiver": dict.fromkeys(_TABLES, _OWN),
    "deployer": {"models": _OWN},
    "console": dict.fromkeys(_TABLES, ("Read", "List")),
    "model-server": {"models": ("Read", "List")},
    "model-exporter": {"models": _OWN},
    "model-trainer": {"datasets": ("Read", "List"), "training": _OWN, "models": _OWN},
    "reader": dict.fromkeys((*_TABLES, "datasets", "models"), ("Read", "List")),
    "dataset-exporter": {**dict.fromkeys(_TABLES, ("Read", "List")), "datasets": _OWN},
}
"""Who may do what in which bucket of a lake inside the cluster. `reader` is for people who query, `dataset-exporter`
for those who put datasets there too."""


def made(lake: str, environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Each Secret's content by name.

    Args:
        lake: `seaweedfs` or `minio` inside the cluster, or `external`.
        environment: Where keys and tokens that exist already are taken from.

    Raises:
        KeyError: The external lake's keys aren't set.
    """
    passwords = {user: _password() for user in (*NATS_USERS.values(), "cluster")}
    found: dict[str, dict[str, str]] = {
        "nats": {f"NATS_{user.upper()}_PASSWORD": password for user, password in passwords.items()},
        "gateway-tokens": {"tokens.toml": f'[admin]\nrole = "admin"\ntoken = "{_password()}"\n'},
    }
    for service, user in NATS_USERS.items():
        found[service] = {"FRAMEMESH_NATS_URL": f"nats://{user}:{passwords[user]}@nats:4222"}
    if lake == "external":
        one = environment["FRAMEMESH_S3_ACCESS_KEY"], environment["FRAMEMESH_S3_SECRET_KEY"]
        keys = dict.fromkeys(LAKE_RIGHTS, one)
    elif lake == "minio":
        keys = dict.fromkeys(LAKE_RIGHTS, (_password(), _password()))
        found["s3"] = dict(zip(("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"), keys["gateway"], strict=True))
    else:
        keys = {service: (_password(), _password()) for service in LAKE_RIGHTS}
        found["s3"] = {"s3.json": json.dumps({"identities": [_identity(name, *key) for name, key in keys.items()]})}
    for service, (access_key, secret_key) in keys.items():
        found.setdefault(service, {}).update(FRAMEMESH_S3_ACCESS_KEY=access_key, FRAMEMESH_S3_SECRET_KEY=secret_key)
    if environment.get("HF_TOKEN"):
        for service in ("model-exporter", "model-trainer"):
            found[service]["HF_TOKEN"] = environment["HF_TOKEN"]
    return found


def _password() -> str:
    """Letters alone: NATS's configuration takes for a number what begins like one, and URLs take them as they are."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def _identity(service: str, access_key: str, secret_key: str) -> dict[str, object]:
    rights = LAKE_RIGHTS[service].items()
    return {
        "name": service,
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": [f"{action}:{bucket}" for bucket, actions in rights for action in actions],
    }


def _object(namespace: str, name: str, content: Mapping[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "framemesh"}},
        "stringData": content,
    }


def main() -> None:
    """Print them as one JSON list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--namespace", default="framemesh")
    parser.add_argument("--lake", choices=("seaweedfs", "minio", "external"), default="seaweedfs")
    options = parser.parse_args()
    try:
        contents = made(options.lake, os.environ)
    except KeyError as unset:
        sys.exit(f"set {unset.args[0]}: with --lake external the keys of your S3 server come from the environment")
    items = [_object(options.namespace, name, content) for name, content in contents.items()]
    json.dump({"apiVersion": "v1", "kind": "List", "items": items}, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
