"""What an operator may set on the console."""

from pathlib import Path

from pydantic import Field

from framemesh.limits import MAX_IMAGE_BYTES
from framemesh.rpc.channels import Tls
from framemesh.settings import BusSettings, LakeSettings, ServiceSettings


class ConsoleSettings(ServiceSettings, BusSettings, LakeSettings):
    """What an operator may set on the console. Durations in seconds, sizes in bytes.

    It needs no more of NATS than to subscribe to `frames.*`, `results.*.*`, `shadows.*.*`, `corrections.*.*.*` and
    `logs.*.*`, and of S3 than to read.
    """

    console_address: str = "127.0.0.1:0"
    """Where the pages are served; port 0 lets the system choose."""
    console_hosts: str = ""
    """Names under which browsers may come, with commas between them. Empty means all where it listens for other
    machines, and this machine's own names where it doesn't, so that no web site can lead a browser here by its own
    name."""
    address: str
    """The gateway's gRPC address as `host:port`, or `https://host:port` where it speaks TLS."""
    tls_ca_file: Path | None = None
    """The authority to trust of the gateway's certificate, in PEM, where it is a private one."""
    tls_cert_file: Path | None = None
    """The certificate for the pages, with those of the authorities between, in PEM; unset, they are served in plain
    text. Read again when it changes."""
    tls_key_file: Path | None = None
    """The certificate's private key, in PEM and without a password."""
    tokens_file: Path | None = None
    """The gateway's tokens (docs/api.md), with which people log in; unset, nobody is asked to. Read again when it
    changes."""
    tokens_in_plain_text: bool = False
    """Take tokens without TLS from other machines too: only where a proxy before the console speaks TLS."""
    session_seconds: float = Field(default=12 * 3600.0, ge=60)
    """How long a login lasts."""
    max_upload_bytes: int = Field(default=MAX_IMAGE_BYTES, ge=1024, le=MAX_IMAGE_BYTES)
    """The largest picture that may be uploaded."""
    quick_models: str = "google/vit-base-patch16-224,PekingU/rtdetr_r18vd,depth-anything/Depth-Anything-V2-Small-hf"
    """Models that the page Models offers at a click, as Hugging Face ids with commas between them."""
    grafana_url: str | None = Field(default=None, pattern="^https?://")
    """Where Grafana is, for links to its dashboards; unset, there are none."""

    def gateway(self) -> tuple[str, Tls]:
        """The gateway's `host:port`, and how it is spoken to."""
        place = self.address.removeprefix("https://").removeprefix("http://").rstrip("/")
        if self.address.startswith("http://"):
            return place, False
        return place, self.tls_ca_file or (True if self.address.startswith("https://") else None)
