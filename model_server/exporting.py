"""From a torch network to an ONNX graph, and the proof that they agree. Imports torch."""

import json
import logging
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from framemesh.errors import ConfigurationError
from model_server import samples
from model_server.checkpoints import Network, prepare
from model_server.preprocessing import Preprocessing
from model_server.runtimes import GRAPH, INPUT, OUTPUT, OnnxRuntime

TOLERANCE = 1e-3
"""Most that a logit may differ, as a share of the greatest logit, or absolutely where that is under 1."""
MAX_BATCH = 256
_BATCHES = (1, 3)


@dataclass(frozen=True, slots=True)
class Parity:
    """How well graph and network agree.

    Attributes:
        images: How many images were compared.
        batches: The sizes of the batches that they went in.
        max_absolute_error: The greatest difference of two logits.
        greatest_logit: The greatest absolute logit, to see the error against.
        top_1_agreement: The share of images with the same best class, from 0 to 1.
        torch: The version that exported.
    """

    images: int
    batches: tuple[int, ...]
    max_absolute_error: float
    greatest_logit: float
    top_1_agreement: float
    torch: str

    def within(self, tolerance: float) -> bool:
        """Whether the error is a small share of the logits."""
        return self.max_absolute_error <= tolerance * max(1.0, self.greatest_logit)


def export(network: Network, preprocessing: Preprocessing, folder: Path) -> None:
    """Write the network's graph and `parity.json` into the folder.

    Raises:
        ConfigurationError: The network can't be exported, or the graph gives other answers.
    """
    _export(network, preprocessing, folder / GRAPH)
    parity = compare(network, OnnxRuntime(folder), preprocessing)
    if not parity.within(TOLERANCE):
        raise ConfigurationError(
            f"the exported graph answers otherwise than torch: logits differ by {parity.max_absolute_error:.2g}, "
            f"the best class agrees on {parity.top_1_agreement:.0%}; set FRAMEMESH_MODEL_RUNTIME=torch"
        )
    (folder / "parity.json").write_text(json.dumps(asdict(parity), indent=2))


def compare(network: Network, graph: OnnxRuntime, preprocessing: Preprocessing) -> Parity:
    """Run both on the same photos, alone and in batches."""
    photos = np.concatenate([prepare(preprocessing, photo) for photo in samples.photos()])
    ours: list[NDArray[np.float32]] = []
    theirs: list[NDArray[np.float32]] = []
    for batch in _BATCHES:
        for start in range(0, len(photos) - batch + 1, batch):
            pixels = photos[start : start + batch]
            ours.append(graph.run(pixels))
            with torch.inference_mode():
                theirs.append(network(torch.from_numpy(pixels)).numpy())
    got, wanted = np.concatenate(ours), np.concatenate(theirs)
    return Parity(
        images=len(wanted),
        batches=_BATCHES,
        max_absolute_error=float(np.abs(got - wanted).max()),
        greatest_logit=float(np.abs(wanted).max()),
        top_1_agreement=float(np.mean(got.argmax(axis=1) == wanted.argmax(axis=1))),
        torch=torch.__version__,
    )


def _export(network: Network, preprocessing: Preprocessing, path: Path) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision isn't there
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's exporter uses what torch has deprecated
            torch.onnx.export(
                network,
                # Of two images: torch takes a size of one for a constant.
                (torch.from_numpy(preprocessing.batch(2)),),
                path,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=MAX_BATCH)},),
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise ConfigurationError(
            f"the model can't be exported to ONNX: {reason[0] if reason else type(error).__name__}; "
            "set FRAMEMESH_MODEL_RUNTIME=torch"
        ) from error
