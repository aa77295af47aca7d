"""Which tensors a network takes and gives. Pure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_server.runtimes import INPUT, Arrays

ANY = -1
"""A size that may be any, or isn't known before a run."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor that a network takes or gives.

    Attributes:
        name: Its name.
        dtype: Of its elements.
        shape: Its sizes, or `ANY`, which the first is: it counts images.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """All tensors of a network."""

    input: TensorSpec
    outputs: tuple[TensorSpec, ...]


def observed(pixels: NDArray[np.float32], outputs: Arrays, *, fixed_input: bool, fixed_outputs: bool) -> Signature:
    """What one run shows of a network.

    Args:
        pixels: What it was given, of shape (inputs, channels, height, width).
        outputs: What it gave.
        fixed_input: Whether every image makes an input of this height and width.
        fixed_outputs: Whether inputs of one shape always give outputs of one shape.
    """
    height, width = pixels.shape[2:] if fixed_input else (ANY, ANY)
    return Signature(
        TensorSpec(INPUT, pixels.dtype, (ANY, pixels.shape[1], height, width)),
        tuple(
            TensorSpec(
                name,
                output.dtype,
                (ANY, *(size if fixed_input and fixed_outputs else ANY for size in output.shape[1:])),
            )
            for name, output in outputs.items()
        ),
    )
