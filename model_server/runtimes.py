"""What runs a network on a batch: ONNX Runtime, or PyTorch."""

from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from framemesh.errors import ConfigurationError
from model_server.artifacts import Manifest

GRAPH = "model.onnx"
"""From `INPUT` to the outputs that the task reads."""
TEXT_GRAPH = "text.onnx"
"""From `TEXT_INPUTS` to `TEXT_OUTPUT`, where the model has a way with words."""
INPUT = "pixel_values"
TEXT_INPUTS = ("input_ids", "attention_mask")
TEXT_OUTPUT = "text_embeds"

Arrays = dict[str, NDArray[np.generic]]

ort.disable_telemetry_events()  # whatever a build collects: cameras and models are nobody else's business


class Runtime(Protocol):
    """A loaded network. Threads may run it at once, each run on one core."""

    @property
    def on_cpu(self) -> bool:
        """Whether a run keeps the calling thread busy, rather than a GPU."""

    def run(self, pixels: NDArray[np.float32]) -> Arrays:
        """The network's outputs by name, from an input of shape (images, channels, height, width)."""

    def shrink(self, pixels: NDArray[np.float32]) -> None:
        """Run once more, and give back the memory that this run doesn't need."""

    def embed(self, tokens: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Features of texts, shape (texts, features), from tokens and their mask of shape (texts, tokens)."""


class OnnxRuntime:
    """ONNX Runtime on one exported graph, or two."""

    def __init__(self, folder: Path, graph: str = GRAPH) -> None:
        self._session = _session(folder / graph)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._texts = _session(folder / TEXT_GRAPH) if (folder / TEXT_GRAPH).exists() else None

    @property
    def on_cpu(self) -> bool:
        """As `Runtime` says."""
        return bool(self._session.get_providers()[0] == "CPUExecutionProvider")

    def run(self, pixels: NDArray[np.float32]) -> Arrays:
        """As `Runtime` says."""
        return dict(zip(self._outputs, self._session.run(self._outputs, {INPUT: pixels}), strict=True))

    def shrink(self, pixels: NDArray[np.float32]) -> None:
        """As `Runtime` says: its arena keeps the most that any run has taken."""
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._session.run(self._outputs, {INPUT: pixels}, options)

    def embed(self, tokens: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """As `Runtime` says."""
        assert self._texts is not None  # noqa: S101 - a task with words was exported with them
        (features,) = self._texts.run([TEXT_OUTPUT], dict(zip(TEXT_INPUTS, (tokens, mask), strict=True)))
        return np.asarray(features, np.float32)


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    # Measured on two cores, EfficientNet-Lite0: two one-thread runs at once make 136 images a second, one
    # two-thread session 75 to 108.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    available = ort.get_available_providers()
    wanted = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]
    return ort.InferenceSession(path, options, providers=wanted)


def load(manifest: Manifest, folder: Path) -> Runtime:
    """Load a prepared model. Takes up to some seconds.

    Raises:
        ConfigurationError: The runtime isn't installed.
    """
    if manifest.runtime == "onnx":
        return OnnxRuntime(folder)
    try:
        from model_server.torch_runtime import TorchRuntime  # noqa: PLC0415 - serving ONNX must not import torch
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the torch runtime needs {error.name}: pip install 'framemesh[torch]', or use runtime=onnx"
        ) from error
    return TorchRuntime.load(folder, manifest)
