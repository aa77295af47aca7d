"""What a user of `framemesh up` may choose."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from framemesh.errors import ConfigurationError
from framemesh.mesh.cameras import Cameras
from framemesh.mesh.door import Door
from framemesh.v1.model_pb2 import FramePolicy, ModelSpec


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports on the loopback interface; 0 means any free one."""

    nats: int
    s3: int
    grpc: int
    http: int
    console: int
    prometheus: int


@dataclass(frozen=True, slots=True)
class ExternalServers:
    """Servers that run elsewhere; what is not set runs here."""

    nats_url: str | None
    s3_endpoint: str | None
    s3_access_key: str | None
    s3_secret_key: str | None

    @staticmethod
    def from_environment(env: Mapping[str, str]) -> "ExternalServers":
        """Those that the variables name.

        Raises:
            ConfigurationError: An S3 server without its keys.
        """
        found = ExternalServers(
            env.get("FRAMEMESH_NATS_URL") or None,
            env.get("FRAMEMESH_S3_ENDPOINT") or None,
            env.get("FRAMEMESH_S3_ACCESS_KEY") or None,
            env.get("FRAMEMESH_S3_SECRET_KEY") or None,
        )
        if found.s3_endpoint and not (found.s3_access_key and found.s3_secret_key):
            raise ConfigurationError(
                "FRAMEMESH_S3_ENDPOINT is set: set FRAMEMESH_S3_ACCESS_KEY and FRAMEMESH_S3_SECRET_KEY too"
            )
        return found


@dataclass(frozen=True, slots=True)
class MeshOptions:
    """All of it.

    Attributes:
        data_dir: Everything that the mesh keeps lies there.
        cameras: The cameras to run; frames may come from elsewhere too.
        models: The models to run and no others; `None` means those of the last time, or else the demo's.
        policy: The demo models' policy.
        duration: Seconds to run once the cameras do; none means until a signal.
        report: Where to write the report.
        drain_seconds: How long frames already accepted may take to be stored and answered at the end.
        ports: Where to listen.
        external: Servers to use instead of our own.
        door: How our own clients get in at the gateway.
        observe: Whether to run Prometheus too, where it is installed.
    """

    data_dir: Path
    cameras: Cameras
    models: tuple[ModelSpec, ...] | None
    policy: FramePolicy
    duration: float | None
    report: Path | None
    drain_seconds: float
    ports: Ports
    external: ExternalServers
    door: Door
    observe: bool
