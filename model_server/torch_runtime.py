"""PyTorch as a runtime, through transformers. Only imported where it is asked for."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model_server.checkpoints import load_network


class TorchRuntime:
    """The network as transformers builds it."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)  # parallel small runs beat wide ones, as with ONNX Runtime
        self._network = load_network(folder)

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `Runtime` says."""
        with torch.inference_mode():
            return np.asarray(self._network(torch.from_numpy(pixels)), np.float32)
