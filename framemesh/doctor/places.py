"""Where the mesh is that is looked at: one that runs here, servers elsewhere, or one that is yet to be started."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from framemesh.mesh.joining import MeshState, read_state


@dataclass(frozen=True, slots=True)
class Places:
    """What there is to look at; none of what isn't there.

    Attributes:
        data_dir: Of the mesh of this machine; none where its servers are all elsewhere.
        state: How to join the mesh that runs on it.
        nats_url: With user and password.
        s3_endpoint: As `http://host:port` or `https://host`.
        s3_access_key: The S3 server's user.
        s3_secret_key: Their password.
        s3_region: The region that requests are signed for.
        s3_bucket: The bucket of frames.
        address: The gateway, as `host:port`, `http://host:port` or `https://host:port`.
        token: For the gateway; empty where there is none.
        tls_ca_file: What to trust of the gateway's TLS; none where that is not said.
    """

    data_dir: Path | None
    state: MeshState | None
    nats_url: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    s3_region: str
    s3_bucket: str
    address: str
    token: str
    tls_ca_file: Path | None


def places(data_dir: Path, address: str | None, environment: Mapping[str, str]) -> Places:
    """What the variables name goes before the mesh on the data directory, as with every other command."""
    state = read_state(data_dir)

    def said(variable: str, known: str = "") -> str:
        return environment.get(variable, "").strip() or known

    nats_url = said("FRAMEMESH_NATS_URL", state.nats_url if state else "")
    s3_elsewhere = bool(said("FRAMEMESH_S3_ENDPOINT"))
    elsewhere = s3_elsewhere and bool(said("FRAMEMESH_NATS_URL"))
    own = None if s3_elsewhere else state  # a key of one server is none of another's
    door = None if address else state
    ca_file = door.tls_ca_file if door else said("FRAMEMESH_TLS_CA_FILE")
    return Places(
        data_dir=None if elsewhere and state is None else data_dir,
        state=state,
        nats_url=nats_url,
        s3_endpoint=said("FRAMEMESH_S3_ENDPOINT", own.s3_endpoint if own else ""),
        s3_access_key=said("FRAMEMESH_S3_ACCESS_KEY", own.s3_access_key if own else ""),
        s3_secret_key=said("FRAMEMESH_S3_SECRET_KEY", own.s3_secret_key if own else ""),
        s3_region=said("FRAMEMESH_S3_REGION", own.s3_region if own else "us-east-1"),
        s3_bucket=said("FRAMEMESH_S3_FRAMES_BUCKET", own.s3_frames_bucket if own else "frames"),
        address=address or (door.address if door else ""),
        token=door.token if door else said("FRAMEMESH_TOKEN"),
        tls_ca_file=Path(ca_file) if ca_file else None,
    )
