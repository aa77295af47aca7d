"""What an operator may set on how models run in a cluster."""

from importlib.metadata import version

from pydantic import Field
from pydantic_settings import BaseSettings

from framemesh.settings import ServiceSettings
from framemesh.specs import MAX_REPLICAS

_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"


class ClusterSettings(BaseSettings):
    """How models run in a cluster. Durations in seconds, sizes as Kubernetes writes quantities."""

    model_config = ServiceSettings.model_config

    namespace: str = "framemesh"
    """The namespace of the models. Everything else that framemesh makes for them is in it too."""
    server_image: str = f"framemesh-model-server:{version('framemesh')}"
    """The image of model servers. It has no torch."""
    exporter_image: str = f"framemesh-exporter:{version('framemesh')}"
    """The image that prepares models, with torch; it also serves those that need torch."""
    trainer_image: str = f"framemesh-trainer:{version('framemesh')}"
    """The image that fine-tunes models."""
    lake_config: str = "lake"
    """A ConfigMap with variables that say where the lake is, such as `FRAMEMESH_S3_ENDPOINT`; it may be missing."""
    server_secret: str = "model-server"  # noqa: S105 - a name
    """A Secret with the variables of model servers that are secret: `FRAMEMESH_NATS_URL`, `FRAMEMESH_S3_ACCESS_KEY`,
    `FRAMEMESH_S3_SECRET_KEY`."""
    exporter_secret: str = "model-exporter"  # noqa: S105 - a name
    """A Secret with those of exporters: `FRAMEMESH_S3_ACCESS_KEY`, `FRAMEMESH_S3_SECRET_KEY` and, for gated models,
    `HF_TOKEN`."""
    trainer_secret: str = "model-trainer"  # noqa: S105 - a name
    """A Secret with those of trainings, likewise."""
    server_cpu: str = Field(default="1", pattern=_QUANTITY)
    """Cores of a model server, requested and the limit: it runs one batch at once on each."""
    server_memory: str = Field(default="2Gi", pattern=_QUANTITY)
    """Memory of a model server, requested and the limit."""
    exporter_cpu: str = Field(default="2", pattern=_QUANTITY)
    """Cores of an exporter, requested and the limit."""
    exporter_memory: str = Field(default="8Gi", pattern=_QUANTITY)
    """Memory of an exporter, requested and the limit; a model takes some four times its weights."""
    trainer_cpu: str = Field(default="4", pattern=_QUANTITY)
    """Cores of a training, requested and the limit."""
    trainer_memory: str = Field(default="16Gi", pattern=_QUANTITY)
    """Memory of a training, requested and the limit."""
    trainer_gpus: int = Field(default=0, ge=0, le=8)
    """GPUs of a training, as `nvidia.com/gpu`."""
    cache_size: str = Field(default="10Gi", pattern=_QUANTITY)
    """The most disk for a server's copy of its model."""
    exporter_cache_size: str = Field(default="30Gi", pattern=_QUANTITY)
    """The most disk for an exporter's download and what it makes of it."""
    trainer_cache_size: str = Field(default="50Gi", pattern=_QUANTITY)
    """The most disk for a training's dataset, base and checkpoints."""
    max_replicas: int = Field(default=0, ge=0, le=MAX_REPLICAS)
    """How many servers load may make of a model, from as many as were asked for; where that isn't more than these,
    load adds none."""
    start_seconds: int = Field(default=600, ge=10, le=7200)
    """How long a new server may take to fetch and load its model; after that the version before it comes back."""
    export_seconds: int = Field(default=3600, ge=60, le=86400)
    """How long preparing a model may take, download and repetitions included."""
    train_seconds: int = Field(default=86400, ge=60, le=30 * 86400)
    """How long a training may take, repetitions included."""
    server_drain_seconds: int = Field(default=20, ge=0, le=3600)
    """How long a stopping server may finish what it holds before it is cut."""
