"""What runs a network on a batch: ONNX Runtime, or PyTorch."""

from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from framemesh.errors import ConfigurationError
from model_server.artifacts import RuntimeName

GRAPH = "model.onnx"
INPUT = "pixel_values"
OUTPUT = "logits"


class Runtime(Protocol):
    """A loaded network. Threads may run it at once, each run on one core."""

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of shape (images, classes) from an input of shape (images, 3, height, width)."""


class OnnxRuntime:
    """ONNX Runtime on one exported graph."""

    def __init__(self, folder: Path) -> None:
        options = ort.SessionOptions()
        # Measured on two cores, EfficientNet-Lite0: two one-thread runs at once make 136 images a second, one
        # two-thread session 75 to 108.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(folder / GRAPH, options, providers=["CPUExecutionProvider"])

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `Runtime` says."""
        (logits,) = self._session.run([OUTPUT], {INPUT: pixels})
        return np.asarray(logits, np.float32)


def load(runtime: RuntimeName, folder: Path) -> Runtime:
    """Load a prepared model. Takes up to some seconds.

    Raises:
        ConfigurationError: The runtime isn't installed.
    """
    if runtime == "onnx":
        return OnnxRuntime(folder)
    try:
        from model_server.torch_runtime import TorchRuntime  # noqa: PLC0415 - serving ONNX must not import torch
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the torch runtime needs {error.name}: pip install 'framemesh[torch]', or use runtime=onnx"
        ) from error
    return TorchRuntime(folder)
