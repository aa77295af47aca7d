"""What an operator may set on the gateway."""

from pathlib import Path

from pydantic import Field

from framemesh.bus.streams import LEAST_STREAM_BYTES, MAX_PAYLOAD_BYTES, StreamSizes
from framemesh.limits import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from framemesh.rpc.server import MAX_MESSAGE_BYTES
from framemesh.settings import BusSettings, LakeSettings, ServiceSettings

_GIB = 1024**3
_SIZES = {
    "frames_stream_bytes": "frames_bytes",
    "stored_stream_bytes": "stored_bytes",
    "results_stream_bytes": "results_bytes",
    "deadletters_stream_bytes": "deadletters_bytes",
}


class GatewaySettings(ServiceSettings, BusSettings, LakeSettings):
    """What an operator may set on the gateway. Durations in seconds, sizes in bytes."""

    grpc_address: str = "127.0.0.1:0"
    """Where the public API is served; port 0 lets the system choose."""
    tls_cert_file: Path | None = None
    """The public API's certificate with those of the authorities between, in PEM; unset, it is served in plain text.
    Read again when it changes."""
    tls_key_file: Path | None = None
    """The certificate's private key, in PEM and without a password."""
    tokens_file: Path | None = None
    """The tokens that callers must have, in TOML (docs/api.md); unset, everybody may call. Read again when it
    changes."""
    tokens_in_plain_text: bool = False
    """Take tokens without TLS from other machines too: only where a proxy before the gateway speaks TLS."""
    grpc_keepalive_seconds: float = Field(default=60.0, ge=10, le=7200)
    """How often a silent connection of a caller is tried, to notice that the caller is gone."""
    grpc_max_connection_age_seconds: float = Field(default=900.0, ge=0)
    """When a caller's connection is replaced, so that callers spread over new replicas; 0 means never. Calls under way
    go on."""
    grpc_max_connection_age_grace_seconds: float = Field(default=0.0, ge=0)
    """How long calls under way may go on after that, streams above all; 0 means until they end."""
    max_image_bytes: int = Field(default=MAX_IMAGE_BYTES, ge=1024, le=MAX_IMAGE_BYTES)
    """The largest image that a caller may send."""
    max_image_pixels: int = Field(default=MAX_IMAGE_PIXELS, ge=1024, le=MAX_IMAGE_PIXELS)
    """The most pixels that it may have."""
    analyze_images: int = Field(default=256, ge=1, le=65536)
    """Images that callers may have in work at once, and streams of them; beyond these calls are refused at once."""
    analyze_bytes: int = Field(default=128 * 1024**2, ge=MAX_MESSAGE_BYTES)
    """Bytes of such images, likewise. An image's copies in messages take some four times as much again."""
    store_workers: int = Field(default=16, ge=1, le=256)
    """Frames being stored at once. More hides latency and holds more images in memory."""
    store_bytes: int = Field(default=64 * 1024**2, ge=2 * MAX_PAYLOAD_BYTES)
    """Memory for frames being stored and on their way to it, however many or large they are."""
    store_sync_folder: Path | None = None
    """A folder on the disk of an S3 server on this machine that answers before it has synced, as that of `framemesh up`
    does: frames leave NATS after a sync of that disk. Not set, the S3 server's answer is enough."""
    s3_datasets_bucket: str = "datasets"
    """The bucket of exported datasets, in which trainings that are asked for have to find theirs."""
    hold_bytes: int = Field(default=128 * 1024**2, ge=0)
    """Memory for frames just stored, so that models that keep up never read the lake."""
    frames_stream_bytes: int = Field(default=4 * _GIB, ge=LEAST_STREAM_BYTES)
    """Disk for frames that wait to be stored: the outage of the lake to survive. Full, it refuses new frames. The
    stream sizes that are not set are halved until NATS has room for them."""
    stored_stream_bytes: int = Field(default=_GIB, ge=LEAST_STREAM_BYTES)
    """Disk for references to stored frames, about 250 bytes each; the oldest go first."""
    results_stream_bytes: int = Field(default=_GIB, ge=LEAST_STREAM_BYTES)
    """Disk for results, about 600 bytes each; the oldest go first."""
    deadletters_stream_bytes: int = Field(default=_GIB, ge=LEAST_STREAM_BYTES)
    """Disk for messages that can't be processed; the oldest go first."""
    keep_days: float = Field(default=7.0, gt=0)
    """How long references, results and dead letters are kept in NATS."""
    stream_replicas: int = Field(default=1, ge=1, le=5)
    """How many NATS servers hold each stream: 1 on one node, 3 in a cluster."""

    def stream_sizes(self) -> StreamSizes:
        """The part of it that `framemesh.bus.streams` takes."""
        return StreamSizes(
            frames_bytes=self.frames_stream_bytes,
            stored_bytes=self.stored_stream_bytes,
            results_bytes=self.results_stream_bytes,
            deadletters_bytes=self.deadletters_stream_bytes,
            keep_days=self.keep_days,
            replicas=self.stream_replicas,
            flexible=frozenset(size for setting, size in _SIZES.items() if setting not in self.model_fields_set),
        )
