"""`mesh.json`: everything that another program needs to join a mesh that runs."""

import json
import os
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path

MESH_FILE = "mesh.json"


@dataclass(frozen=True, slots=True)
class MeshState:
    """Where a mesh is.

    Attributes:
        address: The gateway's gRPC address, as `host:port`.
        nats_url: With user and password.
        s3_endpoint: As `http://host:port`.
        s3_access_key: The S3 server's user.
        s3_secret_key: Their password.
        http: Address of each service's `/metrics` and `/healthz`, by process name.
        processes: Process ids by name, the mesh's own as `mesh`.
        s3_region: The region that requests to the S3 server are signed for.
        s3_frames_bucket: The bucket of frames.
        s3_models_bucket: The bucket of prepared models.
        console_url: The web UI, for a browser.
        token: For the gateway, where it wants one; else empty.
        tls_ca_file: What to trust of the gateway's TLS; empty where it speaks plain text.
        prometheus_url: Where Prometheus is, with `--observe`; else empty.
    """

    address: str
    nats_url: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    http: dict[str, str]
    processes: dict[str, int]
    s3_region: str = "us-east-1"
    s3_frames_bucket: str = "frames"
    s3_models_bucket: str = "models"
    console_url: str = ""
    token: str = ""
    tls_ca_file: str = ""
    prometheus_url: str = ""

    def lake(self) -> dict[str, str]:
        """The variables that say where the lake is, to services and commands alike."""
        return {
            "FRAMEMESH_S3_ENDPOINT": self.s3_endpoint,
            "FRAMEMESH_S3_ACCESS_KEY": self.s3_access_key,
            "FRAMEMESH_S3_SECRET_KEY": self.s3_secret_key,
            "FRAMEMESH_S3_REGION": self.s3_region,
            "FRAMEMESH_S3_FRAMES_BUCKET": self.s3_frames_bucket,
            "FRAMEMESH_S3_MODELS_BUCKET": self.s3_models_bucket,
        }

    def shell_exports(self) -> str:
        """What `framemesh env` prints."""
        values = {
            "FRAMEMESH_ADDRESS": self.address,
            "FRAMEMESH_NATS_URL": self.nats_url,
            **self.lake(),
            "FRAMEMESH_CONSOLE_URL": self.console_url,
            **({"FRAMEMESH_TOKEN": self.token} if self.token else {}),
            **({"FRAMEMESH_TLS_CA_FILE": self.tls_ca_file} if self.tls_ca_file else {}),
        }
        return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())


def write_state(folder: Path, state: MeshState) -> None:
    """Tell others how to join. Only the owner may read it: it has the passwords."""
    write_private(folder / MESH_FILE, json.dumps(asdict(state), indent=2))


def read_state(folder: Path) -> MeshState | None:
    """How to join the mesh on that data directory; none where none runs."""
    try:
        return MeshState(**json.loads((folder / MESH_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    fresh = path.with_name(f".{path.name}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    fresh.rename(path)
