"""What an operator may set on a model server."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from framemesh.errors import InvalidNameError
from framemesh.names import MAX_MODEL_LENGTH, check_label
from framemesh.settings import ModelStoreSettings, ReplicaSettings, ServiceSettings
from model_server.artifacts import PrecisionName, RuntimeName
from model_server.cores import usable_cores


class PreparationSettings(BaseSettings):
    """What preparing a model may do, for servers that prepare theirs and for the worker that does it for them."""

    model_config = ServiceSettings.model_config

    model_allow_pickle: bool = False
    """Load weights that are pickles where there are no others. A pickle can run any code."""
    model_trust_remote_code: bool = False
    """Run Python code that the model's folder brings."""
    model_samples: Path | None = None
    """Folder of photos to compare and calibrate on where the model is prepared; unset, photos of scikit-image."""


class ModelServerSettings(ServiceSettings, ReplicaSettings, ModelStoreSettings, PreparationSettings):
    """What an operator may set on a model server. Durations in seconds."""

    model_name: str
    """The model's name in this mesh, as a DNS label of at most 40 characters."""
    model_source: str = Field(min_length=1)
    """A Hugging Face id such as `google/vit-base-patch16-224`, the path of a local model folder, or
    `lake://models/<name>/<version>`, which was prepared before and is served as it was exported."""
    model_revision: str = ""
    """The hub's branch, tag or commit; empty means the default branch. Unused for a folder."""
    model_runtime: RuntimeName = "onnx"
    """What runs the model."""
    model_precision: PrecisionName = "fp32"
    """The precision of its arithmetic: int8 on ONNX Runtime, fp16 and bf16 where the device has them."""
    model_task: str = ""
    """What it does, in the hub's words, such as `object-detection`; empty means what its config.json says."""
    model_labels: tuple[str, ...] = ()
    """What a zero-shot model looks for unless asked otherwise, as a JSON list."""
    model_preprocessing: Literal["auto", "fast", "exact"] = "auto"
    """What makes its inputs: our own steps on scaled JPEGs, transformers' processor, or whichever was found good."""
    model_cache: Path
    """Folder where prepared models are kept, so that only a model's first start takes long. Servers may share it."""
    grpc_address: str = "127.0.0.1:0"
    """Where inference is served; port 0 lets the system choose."""
    nats_url: SecretStr | None = None
    """The NATS server through which gateways find this one; unset, it serves without telling anybody."""
    workers: int = Field(default_factory=usable_cores, ge=1, le=256)
    """Batches at once, each on one core. By default one for each core that this process may use."""
    max_batch: int = Field(default=8, ge=1, le=256)
    """The most images in one batch; fewer run together where more are no faster."""
    max_queue_delay: float = Field(default=0.0, ge=0, le=1)
    """How long the first image of a batch may wait for company. Waiting rarely pays."""
    max_queue: int = Field(default=64, ge=1, le=65536)
    """Images that may wait, each at most 8 MiB; beyond them calls are refused."""

    @field_validator("model_name")
    @classmethod
    def _is_label(cls, name: str) -> str:
        try:
            return check_label("model", name, max_length=MAX_MODEL_LENGTH)
        except InvalidNameError as error:
            raise ValueError(str(error)) from None
