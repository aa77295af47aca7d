"""What operators set on services, read from the environment once by each `__main__`. Seconds and bytes throughout."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from framemesh.names import MAX_CAMERA_LENGTH


class ServiceSettings(BaseSettings):
    """What every service has."""

    model_config = SettingsConfigDict(
        env_prefix="FRAMEMESH_", frozen=True, use_attribute_docstrings=True, env_ignore_empty=True
    )

    http_address: str = "127.0.0.1:0"
    """Where `/metrics` and `/healthz` are served; port 0 lets the system choose."""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """The least severe log line that is written."""
    drain_seconds: float = Field(default=20.0, ge=0, le=3600)
    """How long a stopping service may finish what it holds before it is cut."""


class BusSettings(BaseSettings):
    """Where NATS is."""

    model_config = ServiceSettings.model_config

    nats_url: SecretStr
    """The NATS server, as `nats://user:password@host:port`; several with commas between them."""


class LakeSettings(BaseSettings):
    """Where the data lake is."""

    model_config = ServiceSettings.model_config

    s3_endpoint: str
    """The S3 server, as `http://host:port` or `https://host`."""
    s3_access_key: SecretStr
    """The key's name. Printed as stars everywhere."""
    s3_secret_key: SecretStr
    """The key itself. Printed as stars everywhere."""
    s3_region: str = "us-east-1"
    """The region that requests are signed for."""
    s3_frames_bucket: str = "frames"
    """The bucket of frames; made if it isn't there."""
    s3_requests: int = Field(default=16, ge=1, le=256)
    """Requests to the S3 server at once."""


class ModelStoreSettings(BaseSettings):
    """Where the lake's prepared models are. Only a source such as `lake://models/<name>/<version>` needs it."""

    model_config = ServiceSettings.model_config

    s3_endpoint: str | None = None
    """The S3 server, as `http://host:port` or `https://host`."""
    s3_access_key: SecretStr | None = None
    """The key's name. Printed as stars everywhere."""
    s3_secret_key: SecretStr | None = None
    """The key itself. Printed as stars everywhere."""
    s3_region: str = "us-east-1"
    """The region that requests are signed for."""
    s3_models_bucket: str = "models"
    """The bucket of prepared models; made if it isn't there."""

    def variables(self) -> dict[str, str]:
        """The same for the environment of another process; what isn't set is empty."""
        return {
            "FRAMEMESH_S3_ENDPOINT": self.s3_endpoint or "",
            "FRAMEMESH_S3_ACCESS_KEY": self.s3_access_key.get_secret_value() if self.s3_access_key else "",
            "FRAMEMESH_S3_SECRET_KEY": self.s3_secret_key.get_secret_value() if self.s3_secret_key else "",
            "FRAMEMESH_S3_REGION": self.s3_region,
            "FRAMEMESH_S3_MODELS_BUCKET": self.s3_models_bucket,
        }


class ReplicaSettings(BaseSettings):
    """Who a model server is, for the routes that the gateway reads."""

    model_config = ServiceSettings.model_config

    replica: str = Field(default="0", max_length=MAX_CAMERA_LENGTH)
    """The server's own name within its model: a number here, the pod's name on Kubernetes."""
    advertise_host: str = "127.0.0.1"
    """The host under which the gateway reaches this server: the pod's address on Kubernetes."""
