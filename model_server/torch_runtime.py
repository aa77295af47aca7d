"""PyTorch as a runtime, through transformers. Only imported where it is asked for."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from framemesh.errors import ConfigurationError
from model_server.artifacts import Manifest, PrecisionName
from model_server.networks import Network, open_network
from model_server.runtimes import Arrays

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchRuntime:
    """The network as transformers builds it, on the GPU where there is one."""

    def __init__(self, network: Network, precision: PrecisionName) -> None:
        """Move the network to where it runs.

        Raises:
            ConfigurationError: The device doesn't have the precision.
        """
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if precision not in _DTYPES:
            raise ConfigurationError(f"precision {precision} runs on ONNX Runtime alone: use runtime=onnx")
        self._dtype = _DTYPES[precision]
        if precision == "fp16" and self._device.type == "cpu":
            raise ConfigurationError("precision fp16 needs a GPU, and there is none here: use fp32 or bf16")
        torch.set_num_threads(1)  # parallel small runs beat wide ones, as with ONNX Runtime
        self._network = network
        self._module = network.module.to(self._device, self._dtype)
        self._texts = network.texts.to(self._device, self._dtype) if network.texts is not None else None

    @classmethod
    def load(cls, folder: Path, manifest: Manifest) -> "TorchRuntime":
        """The runtime of a prepared model.

        Raises:
            ConfigurationError: It can't be loaded, or the device doesn't have the precision.
        """
        return cls(open_network(folder, manifest.task.name, manifest.trust), manifest.precision)

    @property
    def on_cpu(self) -> bool:
        """As `Runtime` says."""
        return self._device.type == "cpu"

    def run(self, pixels: NDArray[np.float32]) -> Arrays:
        """As `Runtime` says."""
        with torch.inference_mode():
            outputs = self._module(torch.from_numpy(pixels).to(self._device, self._dtype))
        return {name: _array(output) for name, output in zip(self._network.outputs, outputs, strict=True)}

    def shrink(self, pixels: NDArray[np.float32]) -> None:
        """As `Runtime` says; torch's own allocator keeps nothing on a CPU."""

    def embed(self, tokens: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """As `Runtime` says."""
        assert self._texts is not None  # noqa: S101 - only tasks with words ask
        with torch.inference_mode():
            features = self._texts(torch.from_numpy(tokens).to(self._device), torch.from_numpy(mask).to(self._device))
        return np.asarray(_array(features), np.float32)


def _array(tensor: torch.Tensor) -> NDArray[np.generic]:
    floating = tensor.is_floating_point()
    array: NDArray[np.generic] = (tensor.float() if floating else tensor).cpu().numpy()
    return array
